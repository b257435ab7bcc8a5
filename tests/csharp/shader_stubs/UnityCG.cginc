// Stands for Unity's UnityCG.cginc: the names that the shader uses, written by hand from Unity's documentation.

float4x4 unity_MatrixMVP;

struct appdata_img
{
    float4 vertex : POSITION;
    half2 texcoord : TEXCOORD0;
};

float4 UnityObjectToClipPos(float4 position)
{
    return mul(unity_MatrixMVP, position);
}
