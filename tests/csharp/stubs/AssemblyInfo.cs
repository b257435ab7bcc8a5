using System.Runtime.CompilerServices;

// The stubs and the tests set what Unity alone sets. The generated code is not among these.
[assembly: InternalsVisibleTo("Unity.Barracuda")]
[assembly: InternalsVisibleTo("Cases")]
[assembly: InternalsVisibleTo("EditorCases")]
[assembly: InternalsVisibleTo("DemoCases")]
