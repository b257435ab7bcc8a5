// Runs the scripts of the demo scene. The first argument is the question:
//   path FRAMES    where CameraPath is after each frame of a sixtieth of a second: "x y z"
//   bobber FRAMES  how high a Bobber is
//   keys           presses each key of DemoControls, and prints what it changed
//   styles         lets DemoStyles fill a camera

using System;
using System.Collections.Generic;
using System.Globalization;
using StyleTransfer;
using StyleTransferDemo;
using StyleTransferDemo.Editor;
using UnityEngine;

public static class DemoCases
{
    public static int Main(string[] arguments)
    {
        switch (arguments[0])
        {
            case "path": return Path(int.Parse(arguments[1]));
            case "bobber": return Bob(int.Parse(arguments[1]));
            case "keys": return Keys();
            case "styles": return Styles();
        }
        return 64;
    }

    static int Path(int frames)
    {
        var path = new CameraPath();
        for (var i = 0; i < frames; i++)
        {
            Stub.Reflect.Send(path, "Update");
            var at = path.transform.position;
            Console.WriteLine(Number(at.x) + " " + Number(at.y) + " " + Number(at.z));
            if (path.transform.lookedAt.y != 1.4f) return 70;
        }
        return 0;
    }

    static int Bob(int frames)
    {
        var bobber = new Bobber();
        bobber.transform.localPosition = new Vector3(1, 2, 3);
        Stub.Reflect.Send(bobber, "Start");
        for (var i = 0; i < frames; i++)
        {
            Time.now = i / 60f;
            Stub.Reflect.Send(bobber, "Update");
            Console.WriteLine(Number(bobber.transform.localPosition.y));
        }
        return 0;
    }

    static GameObject MakeCamera(out StyleTransferCamera camera, out DemoControls controls)
    {
        camera = new StyleTransferCamera();
        controls = new DemoControls();
        Stub.Reflect.Set(controls, "path", new CameraPath { enabled = true });
        var owner = controls.gameObject;
        owner.components.Add(camera);
        Stub.Reflect.Send(controls, "OnEnable");
        return owner;
    }

    static int Keys()
    {
        StyleTransferCamera camera;
        DemoControls controls;
        MakeCamera(out camera, out controls);
        var first = ScriptableObject.CreateInstance<StyleTransferModel>();
        var second = ScriptableObject.CreateInstance<StyleTransferModel>();
        Stub.Reflect.Set(first, "displayName", "First");
        Stub.Reflect.Set(second, "displayName", "Second");
        camera.Styles = new[] { first, second };
        camera.Model = first;

        foreach (KeyCode key in Enum.GetValues(typeof(KeyCode)))
        {
            var before = Show(controls);
            Input.pressed.Add(key);
            Stub.Reflect.Send(controls, "Update");
            Input.pressed.Clear();
            var after = Show(controls);
            for (var i = 1; i < Math.Max(before.Count, after.Count); i++)
                if (i >= after.Count) { Console.WriteLine(key + "\thidden"); break; }
                else if (before[i] != after[i]) Console.WriteLine(key + "\t" + before[i] + "\t" + after[i]);
            if (key == KeyCode.H)
            {
                Input.pressed.Add(key);
                Stub.Reflect.Send(controls, "Update");
                Input.pressed.Clear();
            }
        }
        return 0;
    }

    static List<string> Show(DemoControls controls)
    {
        GUI.skin = new GUISkin();
        Stub.World.Logs.Clear();
        Stub.Reflect.Send(controls, "OnGUI");
        return Stub.World.Logs.ConvertAll(line => line.Substring("label ".Length));
    }

    static int Styles()
    {
        StyleTransferCamera camera;
        DemoControls controls;
        var owner = MakeCamera(out camera, out controls);
        Stub.Assets.All.Add(ScriptableObject.CreateInstance<StyleTransferModel>());
        var scene = new UnityEngine.SceneManagement.Scene { roots = new[] { owner } };
        new DemoStyles().OnProcessScene(scene, null);
        Console.WriteLine(camera.Styles.Length);
        camera.Styles = new StyleTransferModel[3];
        new DemoStyles().OnProcessScene(scene, null);
        Console.WriteLine(camera.Styles.Length);
        return 0;
    }

    static string Number(float value) => value.ToString("R", CultureInfo.InvariantCulture);
}
