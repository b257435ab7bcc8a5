using System.Runtime.CompilerServices;

// The stubs and the tests set what Unity alone sets. The generated code is not among these.
[assembly: InternalsVisibleTo("Unity.Barracuda")]
[assembly: InternalsVisibleTo("Unity.InferenceEngine")]
[assembly: InternalsVisibleTo("Unity.Sentis")]
[assembly: InternalsVisibleTo("FakeEngine")]
[assembly: InternalsVisibleTo("Cases")]
[assembly: InternalsVisibleTo("EditorCases")]
[assembly: InternalsVisibleTo("DemoCases")]
[assembly: InternalsVisibleTo("Unity.RenderPipelines.Core.Runtime")]
[assembly: InternalsVisibleTo("Unity.RenderPipelines.Universal.Runtime")]
[assembly: InternalsVisibleTo("Unity.RenderPipelines.HighDefinition.Runtime")]
[assembly: InternalsVisibleTo("PipelineCases")]
