// Unpacks packed models with the generated C#. Reads lines "packed<TAB>result" of file paths; writes for each, in
// order, "ok" (and the result file), "refused<TAB>message", or "broken<TAB>exception" for any other exception.
//   Unpack.exe register   does what Unity does at start, and imports through what is registered then

using System;
using System.IO;
using StyleTransfer;
using StyleTransfer.Barracuda;

public static class Unpack
{
    public static int Main(string[] arguments)
    {
        if (arguments.Length > 0) return Register(arguments[1]);

        string line;
        while ((line = Console.ReadLine()) != null)
        {
            var paths = line.Split('\t');
            Console.WriteLine(One(paths[0], paths[1]).Replace("\n", " | "));
        }
        return 0;
    }

    static string One(string packed, string result)
    {
        try
        {
            File.WriteAllBytes(result, PackedModel.Unpack(File.ReadAllBytes(packed)));
            return "ok";
        }
        catch (InvalidDataException exception)
        {
            return "refused\t" + exception.Message;
        }
        catch (Exception exception)
        {
            return "broken\t" + exception;
        }
    }

    static int Register(string packed)
    {
        Stub.Reflect.Start(typeof(BarracudaOnnxImporter));
        var importer = BarracudaEngine.Importer;
        importer.Import(PackedModel.Unpack(File.ReadAllBytes(packed)));
        Console.WriteLine(importer.GetType().Name + "\t" + Stub.Converter.LastModel.Length + "\t" + Stub.Converter.LastOptimize);
        return 0;
    }
}
