using System;
using System.Globalization;
using System.IO;
using StyleTransfer.Compute;

// Prints what the C# side makes of a plan file: PlanCases FILE HEIGHT WIDTH FLIP [WEIGHT OF EACH STYLE, OR STYLE VECTOR...].
static class PlanCases
{
    const int FirstStyle = 4;

    static int Main(string[] arguments)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        ComputePlan plan;
        try
        {
            plan = ComputePlan.Read(File.ReadAllBytes(arguments[0]));
        }
        catch (InvalidDataException exception)
        {
            Console.WriteLine("refused " + exception.Message);
            return 0;
        }
        int height = int.Parse(arguments[1]), width = int.Parse(arguments[2]);
        var sizes = new ComputeConstants(plan, height, width);
        Console.WriteLine("plan " + plan.Half + " " + plan.InputName + " " + plan.OutputName + " " + plan.Metadata.Count +
          string.Concat(Array.ConvertAll(plan.Guides, name => " " + name)));
        for (var i = 0; i < plan.Slots; i++) Console.WriteLine("slot " + sizes.SlotElements(i));
        Console.WriteLine("partials " + sizes.PartialElements());
        var shape = new int[ComputeConstants.ShapeNumbers];
        var real = new float[ComputeConstants.RealNumbers];
        foreach (var dispatch in plan.Dispatches)
        {
            int x, y, z;
            sizes.FindGroups(dispatch, out x, out y, out z);
            sizes.Fill(dispatch, arguments[3] == "1", shape, real);
            Console.WriteLine("dispatch " + plan.Kernels[dispatch.Kernel].Name + " " + x + " " + y + " " + z);
            Console.WriteLine("shape " + string.Join(" ", shape));
            var bits = new int[real.Length];
            Buffer.BlockCopy(real, 0, bits, 0, sizeof(float) * real.Length);
            Console.WriteLine("real " + string.Join(" ", bits));
        }
        var weights = ComputeWeights.LayOut(plan);
        var shares = new float[arguments.Length - FirstStyle];
        for (var i = 0; i < shares.Length; i++) shares[i] = float.Parse(arguments[FirstStyle + i]);
        foreach (var style in plan.Styles)
        {
            if (shares.Length == 0) break;
            int first, count;
            var mixed = new float[plan.Weights[style.Weight].Data.Length + 1];
            style.Mix(shares, mixed);
            ComputeWeights.LayOut(plan.Weights[style.Weight], mixed, weights, out first, out count);
        }
        foreach (var weight in plan.VectorWeights)
        {
            if (shares.Length == 0) break;
            int first, count;
            var numbers = new float[plan.Weights[weight.Weight].Data.Length + 1];
            weight.Apply(shares, numbers);
            ComputeWeights.LayOut(plan.Weights[weight.Weight], numbers, weights, out first, out count);
        }
        var bytes = new byte[sizeof(float) * weights.Length];
        Buffer.BlockCopy(weights, 0, bytes, 0, bytes.Length);
        Console.WriteLine("weights " + Convert.ToBase64String(bytes));
        return 0;
    }
}
