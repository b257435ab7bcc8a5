// UnityEngine.JsonUtility as its documentation says: public fields of serialisable classes, strings, numbers, bools
// and arrays; keys without a field are skipped, fields without a key keep their defaults, and what is not JSON is an
// ArgumentException.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace UnityEngine
{

public static class JsonUtility
{
    public static T FromJson<T>(string json)
    {
        if (string.IsNullOrEmpty(json)) return default(T);
        var reader = new Reader(json);
        return (T)Fill(typeof(T), reader.ReadAll());
    }

    static object Fill(Type type, object value)
    {
        if (type == typeof(string)) return value as string ?? "";
        if (type.IsArray)
        {
            var items = value as List<object> ?? new List<object>();
            var array = Array.CreateInstance(type.GetElementType(), items.Count);
            for (var i = 0; i < items.Count; i++) array.SetValue(Fill(type.GetElementType(), items[i]), i);
            return array;
        }
        if (type.IsPrimitive) return value == null ? Activator.CreateInstance(type) : Convert.ChangeType(value, type);

        if (type.GetCustomAttributes(typeof(SerializableAttribute), false).Length == 0)
            throw new Exception(type.Name + " is not serialisable");
        var made = Activator.CreateInstance(type);
        var members = value as Dictionary<string, object>;
        if (members == null) return made;
        foreach (var field in type.GetFields())
        {
            object member;
            if (members.TryGetValue(field.Name, out member)) field.SetValue(made, Fill(field.FieldType, member));
        }
        return made;
    }

    sealed class Reader
    {
        readonly string m_Text;
        int m_At;

        public Reader(string text) { m_Text = text; }

        public object ReadAll()
        {
            var value = Read();
            Skip();
            if (m_At != m_Text.Length || !(value is Dictionary<string, object>)) throw Wrong();
            return value;
        }

        object Read()
        {
            Skip();
            switch (Peek())
            {
                case '{': return ReadObject();
                case '[': return ReadArray();
                case '"': return ReadString();
                default: return ReadWord();
            }
        }

        object ReadObject()
        {
            var members = new Dictionary<string, object>();
            m_At++;
            for (Skip(); Peek() != '}'; Skip())
            {
                var name = ReadString();
                Skip();
                if (Peek() != ':') throw Wrong();
                m_At++;
                members[name] = Read();
                Skip();
                if (Peek() == ',') m_At++; else if (Peek() != '}') throw Wrong();
            }
            m_At++;
            return members;
        }

        object ReadArray()
        {
            var items = new List<object>();
            m_At++;
            for (Skip(); Peek() != ']'; Skip())
            {
                items.Add(Read());
                Skip();
                if (Peek() == ',') m_At++; else if (Peek() != ']') throw Wrong();
            }
            m_At++;
            return items;
        }

        string ReadString()
        {
            if (Peek() != '"') throw Wrong();
            var text = new StringBuilder();
            for (m_At++; Peek() != '"'; m_At++)
            {
                if (m_Text[m_At] != '\\') { text.Append(m_Text[m_At]); continue; }
                m_At++;
                var letter = Peek();
                if (letter == 'u')
                {
                    text.Append((char)int.Parse(m_Text.Substring(m_At + 1, 4), NumberStyles.HexNumber));
                    m_At += 4;
                }
                else text.Append(letter == 'n' ? '\n' : letter == 't' ? '\t' : letter == 'r' ? '\r' : letter);
            }
            m_At++;
            return text.ToString();
        }

        object ReadWord()
        {
            var start = m_At;
            while (m_At < m_Text.Length && ",]} \n\r\t".IndexOf(m_Text[m_At]) < 0) m_At++;
            var word = m_Text.Substring(start, m_At - start);
            if (word == "null") return null;
            if (word == "true" || word == "false") return word == "true";
            double number;
            if (!double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out number)) throw Wrong();
            return number;
        }

        char Peek()
        {
            if (m_At >= m_Text.Length) throw Wrong();
            return m_Text[m_At];
        }

        void Skip() { while (m_At < m_Text.Length && char.IsWhiteSpace(m_Text[m_At])) m_At++; }

        Exception Wrong() { return new ArgumentException("JSON parse error"); }
    }
}

}
