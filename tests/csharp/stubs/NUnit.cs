// Signatures of the part of NUnit 3 that the generated C# uses, written by hand from its documentation.

using System;

namespace NUnit.Framework
{

[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
public class TestCaseSourceAttribute : Attribute { public TestCaseSourceAttribute(string sourceName) {} }

public class Assert
{
    public static void IsTrue(bool condition, string message, params object[] args)
    {
        if (!condition) throw new Exception(message);
    }
}

}
