// Stands for Unity's UnityCG.cginc: the names that our shaders use, with the meaning that Unity documents.

float4x4 unity_MatrixMVP;
float4x4 unity_ObjectToWorld;

struct appdata_img
{
    float4 vertex : POSITION;
    half2 texcoord : TEXCOORD0;
};

float4 UnityObjectToClipPos(float4 position)
{
    return mul(unity_MatrixMVP, position);
}

#define tex2D(name, uv) name.SampleLevel(sampler##name, uv, 0)
#define tex2Dlod(name, at) name.SampleLevel(sampler##name, (at).xy, 0)
