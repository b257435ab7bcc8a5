// The passes of URP and HDRP against stubs of one version of either, with the scene and the checks of EffectCases.cs.
// Prints a line "name<TAB>ok" or "name<TAB>what is wrong" per case.

using System;
using StyleTransfer;
using StyleTransfer.Volumes;
using UnityEngine;
using UnityEngine.Rendering;
#if HDRP
using StyleTransfer.HighDefinition;
using UnityEngine.Rendering.HighDefinition;
#else
using StyleTransfer.Universal;
using UnityEngine.Rendering.Universal;
#endif
#if URP_17_OR_NEWER
using UnityEngine.Rendering.RenderGraphModule;
#endif

public static class PipelineProgram
{
    public static int Main()
    {
        Try("moving", Moving);
        Try("masked", Masked);
        Try("masked by a network", MaskedByNetwork);
        Try("off", Off);
        Try("lost", Lost);
        Try("volume", Volume);
        return 0;
    }

    static void Try(string name, Action action)
    {
        Fixture.Reset();
        GraphicsSettings.renderPipelineAsset = new Pipeline { name = "pipeline" };
        var outcome = "ok";
        try
        {
            action();
            if (Stub.World.Logs.Count > (name == "lost" ? 1 : 0)) throw new Exception(Stub.World.Logs[0]);
            var leaks = Stub.Live.Leaks();
            if (leaks != "" && leaks != "CommandBuffer:1 ") outcome = "alive: " + leaks;
        }
        catch (Exception exception)
        {
            outcome = exception.ToString().Replace("\n", " | ").Replace("\t", " ");
        }
        Console.WriteLine(name + "\t" + outcome);
    }

    sealed class Pipeline : RenderPipelineAsset {}

    static void Moving()
    {
        using (var scene = new MovingScene(true))
        using (var rig = new Rig(scene))
        {
            rig.Camera.RunEveryFrames = 3;
            for (var frame = 0; frame < 8; frame++)
            {
                var shown = rig.Frame(frame);
                if (frame == 0)
                {
                    Fixture.IsSame(scene.Picture, shown, "before the first run");
                    continue;
                }
                // Taken in frame 0, computed before frame 1, shown until the next is there in frame 4; and so on.
                var taken = (frame - 1) / 3 * 3;
                if (!Rig.HasMotion) continue;
                var known = scene.Error(shown, (x, y) => !scene.IsNew(frame, taken, x, y));
                Fixture.Near(known, 0, 0.001f, "frame " + frame);
            }
            Fixture.Equal(Stub.Networks.Executions, 3, "runs");
        }
    }

    static void Masked()
    {
        Stub.Objects.Paint = (target, layers, material) =>
        {
            Fixture.Equal(layers, 1 << 9, "layers");
            Fixture.Equal(material.shader.name, "Hidden/StyleTransfer/Mask", "material");
            for (var i = 0; i < target.texels.Length; i++)
            {
                Fixture.Equal(target.texels[i], 0f, "cleared");
                target.texels[i] = i / 4 % target.width < target.width / 2 ? 1 : 0;
            }
        };
        using (var scene = new MovingScene(false))
        using (var rig = new Rig(scene))
        {
            rig.Camera.Reproject = false;
            rig.Camera.StylizedLayers = 1 << 9;
            rig.Frame(0);
            var shown = rig.Frame(0);
            for (var i = 0; i < shown.texels.Length; i++)
            {
                var wanted = scene.Picture.texels[i];
                if (i % 4 != 3 && i / 4 % shown.width < shown.width / 2) wanted = 1 - wanted;
                Fixture.Near(shown.texels[i], wanted, 0.003f, "texel " + i / 4);
            }
        }
    }

    static void MaskedByNetwork()
    {
        using (var scene = new MovingScene(false))
        using (var rig = new Rig(scene))
        {
            rig.Camera.Reproject = false;
            rig.Camera.MaskModel = Fixture.Style(1);
            var shown = rig.Frame(0);
            for (var frame = 0; frame < 4; frame++) shown = rig.Frame(0);
            for (var i = 0; i < shown.texels.Length; i += 4)
            {
                var picture = scene.Picture.texels;
                var mask = 1 - (picture[i] + picture[i + 1] + picture[i + 2]) / 3;
                for (var c = 0; c < 3; c++)
                    Fixture.Near(shown.texels[i + c], picture[i + c] + (1 - 2 * picture[i + c]) * mask, 0.01f, "texel " + i);
            }
        }
    }

    static void Lost()
    {
        Stub.World.LostShader = "Hidden/StyleTransfer/Mask";
        using (var scene = new MovingScene(false))
        using (var rig = new Rig(scene))
        {
            rig.Camera.StylizedLayers = 1;
            for (var frame = 0; frame < 4; frame++) Fixture.IsSame(scene.Picture, rig.Frame(frame), "frame " + frame);
            Fixture.Contains(Stub.World.Logs[0], "Mask is missing");
        }
    }

    // Strength, style and layers of the volumes around the camera, for as long as there are any.
    static void Volume()
    {
        using (var scene = new MovingScene(false))
        using (var rig = new Rig(scene))
        {
            rig.Camera.Reproject = false;
            rig.Frame(0);
            var volume = ScriptableObject.CreateInstance<StyleTransferVolume>();
            VolumeManager.instance.stack.blended = volume;
            volume.strength.value = 0.5f;
            var shown = rig.Frame(0);
            Fixture.IsInverted(scene.Picture, shown, 0.5f, "half the strength");
            Fixture.Equal(rig.Camera.Strength, 1f, "the camera's own strength");

            volume.strength.value = 0;
            Fixture.IsSame(scene.Picture, rig.Frame(0), "no strength");

            volume.strength.value = 1;
            volume.keepColors.value = 0.25f;
            rig.Frame(0);
            Fixture.Near(rig.Camera.CurrentKeepColors(null), 0.25f, 1e-6f, "the camera's own colours");
            volume.keepColors.value = 0;
            volume.styleNumber.value = 2;
            volume.styleBlend.value = 0.5f;
            rig.Frame(0);
            Fixture.Equal(rig.Camera.CurrentMix, new StyleMix(2, 0, 0.5f), "the volume's styles of one network");
            volume.styleNumber.value = -1;
            rig.Frame(0);
            Fixture.Equal(rig.Camera.CurrentMix, new StyleMix(0, 0, 0), "the camera's own");

            volume.style.value = Fixture.Style();
            EngineRig.LetItKeepItsInput(volume.style.value);
            for (var frame = 0; frame < 12; frame++) shown = rig.Frame(0);
            Fixture.IsSame(scene.Picture, shown, "the volume's style keeps its input");

            volume.layers.value = 1 << 9;
            Stub.Objects.Paint = (target, layers, material) => Fixture.Equal(layers, 1 << 9, "layers");
            rig.Frame(0);
            Fixture.Equal(rig.Camera.CurrentLayers.value, 1 << 9, "layers");

            VolumeManager.instance.stack.blended = null;
            for (var frame = 0; frame < 12; frame++) shown = rig.Frame(0);
            Fixture.IsInverted(scene.Picture, shown, 1, "without volumes");
        }
    }

    static void Off()
    {
        using (var scene = new MovingScene(false))
        using (var rig = new Rig(scene))
        {
            for (var frame = 0; frame < 3; frame++) rig.Frame(frame);
            rig.Camera.Stylize = false;
            Fixture.IsSame(scene.Picture, rig.Frame(3), "off");
            Stub.Reflect.Send(rig.Camera, "OnDisable");
            Fixture.IsSame(scene.Picture, rig.Frame(4, false), "disabled");
        }
    }
}

#if HDRP

// One camera in HDRP, whose buffers are larger than its picture.
sealed class Rig : IDisposable
{
#if HDRP_12_OR_NEWER
    public static readonly bool HasMotion = true;
#else
    public static readonly bool HasMotion = false;
#endif

    const int MoreWidth = 16;
    const int MoreHeight = 8;

    public readonly StyleTransferCamera Camera = RigCamera.Make();
    readonly MovingScene m_Scene;
    readonly StyleTransferCustomPass m_Pass = new StyleTransferCustomPass();
    readonly CommandBuffer m_Commands = new CommandBuffer();
    readonly RenderTexture m_Color = Buffer(), m_Depth = Buffer(), m_Motion = Buffer();
    readonly RenderTexture m_Shown = Fixture.Canvas(MovingScene.Width, MovingScene.Height);

    public Rig(MovingScene scene)
    {
        m_Scene = scene;
        Stub.Reflect.Send(Camera, "OnEnable");
    }

    static RenderTexture Buffer()
    {
        var buffer = Fixture.Canvas(MovingScene.Width + MoreWidth, MovingScene.Height + MoreHeight);
        buffer.graphicsFormat = UnityEngine.Experimental.Rendering.GraphicsFormat.B10G11R11_UFloatPack32;
        return buffer;
    }

    public RenderTexture Frame(int frame, bool enabled = true)
    {
        if (enabled) Stub.Reflect.Send(Camera, "LateUpdate");
        m_Scene.Show(frame);
        Fill(m_Scene.Picture, m_Color);
        Fill((Texture)Shader.globals["_CameraDepthTexture"], m_Depth);
        Fill((Texture)Shader.globals["_CameraMotionVectorsTexture"], m_Motion);

        var camera = new HDCamera
        {
            camera = Camera.GetComponent<Camera>(), actualWidth = MovingScene.Width, actualHeight = MovingScene.Height
        };
        m_Commands.Clear();
        m_Pass.StubExecute(new CustomPassContext
            (m_Commands, camera, new RTHandle(m_Color), new RTHandle(m_Depth), new RTHandle(m_Motion)));
        m_Commands.Execute();

        for (var y = 0; y < m_Shown.height; y++)
            Array.Copy(m_Color.texels, y * m_Color.width * 4, m_Shown.texels, y * m_Shown.width * 4, m_Shown.width * 4);
        for (var y = 0; y < m_Color.height; y++)
            Fixture.Equal(m_Color.texels[(y * m_Color.width + m_Color.width - 1) * 4], -1f, "outside of the picture");
        return m_Shown;
    }

    static void Fill(Texture source, RenderTexture buffer)
    {
        for (var y = 0; y < source.height; y++)
            Array.Copy(source.texels, y * source.width * 4, buffer.texels, y * buffer.width * 4, source.width * 4);
    }

    public void Dispose()
    {
        if (Camera.Runner != null) Stub.Reflect.Send(Camera, "OnDisable");
        m_Commands.Dispose();
        Fixture.Free(m_Color, m_Depth, m_Motion, m_Shown);
    }
}

#else

// One camera in URP.
sealed class Rig : IDisposable
{
#if URP_12_OR_NEWER
    public static readonly bool HasMotion = true;
#else
    public static readonly bool HasMotion = false;
#endif

    sealed class Renderer : ScriptableRenderer {}

    public readonly StyleTransferCamera Camera = RigCamera.Make();
    readonly MovingScene m_Scene;
    readonly StyleTransferFeature m_Feature = ScriptableObject.CreateInstance<StyleTransferFeature>();
    readonly Renderer m_Renderer = new Renderer();
    readonly RenderTexture m_Color = Fixture.Canvas(MovingScene.Width, MovingScene.Height);
#if !URP_10_OR_NEWER
    bool m_NeededMask;
#endif

    public Rig(MovingScene scene)
    {
        m_Scene = scene;
        m_Renderer.color = m_Color;
        m_Feature.Create();
        Stub.Reflect.Send(Camera, "OnEnable");
    }

    public RenderTexture Frame(int frame, bool enabled = true)
    {
        if (enabled) Stub.Reflect.Send(Camera, "LateUpdate");
        m_Scene.Show(frame);
        Array.Copy(m_Scene.Picture.texels, m_Color.texels, m_Color.texels.Length);
        m_Renderer.queue.Clear();

        var data = new RenderingData();
        data.cameraData.camera = Camera.GetComponent<Camera>();
        data.cameraData.cameraTargetDescriptor =
            new RenderTextureDescriptor { width = MovingScene.Width, height = MovingScene.Height };
    #if !URP_12_OR_NEWER
        // Post-processing leaves its result elsewhere, and what is in the camera's target is old.
        data.cameraData.postProcessEnabled = frame % 2 == 1;
        m_Renderer.color = data.cameraData.postProcessEnabled ? null : m_Color;
        Shader.globals["_AfterPostProcessTexture"] = m_Color;
    #endif
    #if !URP_10_OR_NEWER
        var camera = data.cameraData.camera;
        var options = camera.GetComponent<UniversalAdditionalCameraData>();
        if (options == null) options = camera.gameObject.AddComponent<UniversalAdditionalCameraData>();
        RenderPipelineManager.StubBegin(camera);
        data.cameraData.requiresDepthTexture = options.requiresDepthOption == CameraOverrideOption.On;
        if (!Camera.Stylize) Fixture.Equal(options.requiresDepthOption, CameraOverrideOption.UsePipelineSettings, "taken back");
    #endif
        m_Feature.AddRenderPasses(m_Renderer, ref data);
        foreach (var pass in m_Renderer.queue) Run(pass, ref data);
        return m_Color;
    }

    void Run(ScriptableRenderPass pass, ref RenderingData data)
    {
        Check(pass, ref data);
    #if URP_17_3_OR_NEWER
        Record(pass);
    #elif URP_17_OR_NEWER
        // The graph, and every fourth frame compatibility mode.
        if (++m_Runs % 4 != 0) Record(pass);
        else Execute(pass, ref data);
    #else
        Execute(pass, ref data);
    #endif
    }

    void Check(ScriptableRenderPass pass, ref RenderingData data)
    {
    #if URP_12_OR_NEWER
    #if URP_17_OR_NEWER
        var wanted = ScriptableRenderPassInput.None;
    #else
        var wanted = ScriptableRenderPassInput.Color;
    #endif
        if (Camera.Reproject) wanted |= ScriptableRenderPassInput.Depth | ScriptableRenderPassInput.Motion;
        if (Camera.NeedsMask) wanted |= ScriptableRenderPassInput.Depth;
        Fixture.Equal(pass.input, wanted, "textures asked for");
        Fixture.Equal(pass.renderPassEvent, RenderPassEvent.AfterRenderingPostProcessing, "event");
    #else
    #if URP_10_OR_NEWER
        Fixture.Equal(pass.input == ScriptableRenderPassInput.Depth, Camera.NeedsMask, "depth texture");
    #else
        // Decided when the camera's data are gathered, before any feature is asked; volumes are known after that.
        var changed = Camera.NeedsMask != m_NeededMask;
        m_NeededMask = Camera.NeedsMask;
        if (!changed) Fixture.Equal(data.cameraData.requiresDepthTexture, Camera.NeedsMask, "depth texture");
    #endif
        Fixture.Equal(pass.renderPassEvent, data.cameraData.postProcessEnabled
            ? RenderPassEvent.AfterRendering : RenderPassEvent.AfterRenderingPostProcessing, "event");
    #endif
    }

#if !URP_17_3_OR_NEWER

    #pragma warning disable 618
    static void Execute(ScriptableRenderPass pass, ref RenderingData data)
    {
        pass.Execute(new ScriptableRenderContext(), ref data);
    }
    #pragma warning restore 618

#endif

#if URP_17_OR_NEWER

    int m_Runs;

    void Record(ScriptableRenderPass pass)
    {
        if (!pass.requiresIntermediateTexture) throw new Exception("the screen cannot be read");
        var resources = new UniversalResourceData { activeColorTexture = new TextureHandle { texture = m_Color } };
        if (Camera.Reproject || Camera.NeedsMask)
            resources.cameraDepthTexture = Handle("_CameraDepthTexture");
        if (Camera.Reproject)
            resources.motionVectorColor = Handle("_MotionVectorTexture");

        var frame = new ContextContainer();
        frame.items[typeof(UniversalResourceData)] = resources;
        frame.items[typeof(UniversalRenderingData)] = new UniversalRenderingData();
        frame.items[typeof(UniversalLightData)] = new UniversalLightData();
        frame.items[typeof(UniversalCameraData)] = new UniversalCameraData
        {
            cameraTargetDescriptor = new RenderTextureDescriptor { width = m_Color.width, height = m_Color.height }
        };
        using (var commands = new CommandBuffer())
        {
            pass.RecordRenderGraph(new RenderGraph(commands), frame);
            commands.Execute();
        }

        // The screen itself is left alone.
        resources.isActiveTargetBackBuffer = true;
        pass.RecordRenderGraph(null, frame);
    }

    static TextureHandle Handle(string name)
    {
        return new TextureHandle { texture = (RenderTexture)Shader.globals[name] };
    }

#endif

    public void Dispose()
    {
        if (Camera.Runner != null) Stub.Reflect.Send(Camera, "OnDisable");
        Fixture.Free(m_Color);
    }
}

#endif

static class RigCamera
{
    public static StyleTransferCamera Make()
    {
        var camera = Fixture.Camera(Fixture.Style());
        camera.TargetHeight = MovingScene.Height;
        return camera;
    }
}
