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

float4x4 unity_ObjectToWorld;

#define sampler2D_float sampler2D

// glslangValidator knows tex2Dlod for other textures than sampler2D alone.
float4 tex2DlodStub(sampler2D source, float4 at)
{
    return tex2D(source, at.xy);
}

#define tex2Dlod tex2DlodStub
