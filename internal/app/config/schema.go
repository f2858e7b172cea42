package config

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/goccy/go-yaml"
)

// Schema returns the JSON schema (2020-12) of a configuration, made from the same
// structs as the decoder. Editors complete and check files with it. It is a little
// wider than the decoder, which also checks what joins several places.
func Schema() []byte {
	g := &generator{defs: yaml.MapSlice{}, done: map[string]bool{}}
	root := g.object(reflect.TypeFor[Config]())
	all := append(yaml.MapSlice{
		{Key: "$schema", Value: "https://json-schema.org/draft/2020-12/schema"},
		{Key: "title", Value: "Configuration of vault's applications"},
	}, root...)
	all = append(all, yaml.MapItem{Key: "$defs", Value: g.defs})
	var b, pretty bytes.Buffer
	if err := writeJSON(&b, all); err != nil {
		panic("config: internal error: " + err.Error())
	}
	if err := json.Indent(&pretty, b.Bytes(), "", " "); err != nil {
		panic("config: internal error: " + err.Error())
	}
	pretty.WriteByte('\n')
	return pretty.Bytes()
}

type generator struct {
	defs yaml.MapSlice
	done map[string]bool
}

func object(items ...any) yaml.MapSlice {
	var m yaml.MapSlice
	for i := 0; i+1 < len(items); i += 2 {
		m = append(m, yaml.MapItem{Key: items[i], Value: items[i+1]})
	}
	return m
}

var (
	anyText = object("type", []any{"string", "number", "boolean"})
	argv    = object("type", "array", "items", anyText, "minItems", 1)
)

// of returns the schema of a type.
func (g *generator) of(t reflect.Type) yaml.MapSlice {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Command]():
		return g.either("Command", t, argv)
	case reflect.TypeFor[Phase]():
		return object("oneOf", []any{g.of(reflect.TypeFor[Command]()), g.of(reflect.TypeFor[Steps]())})
	}
	zero := reflect.New(t)
	if c, ok := zero.Elem().Interface().(chooser); ok {
		return object("enum", texts(c.choices()))
	}
	if _, ok := zero.Interface().(texter); ok {
		if t.Kind() != reflect.Struct || !hasFields(t) {
			return object("type", []any{"string", "integer"})
		}
		return g.either(t.Name(), t, anyText)
	}
	switch t.Kind() {
	case reflect.Struct:
		return g.named(t.Name(), t)
	case reflect.Map:
		return object("type", "object", "additionalProperties", g.of(t.Elem()))
	case reflect.Slice:
		list := object("type", "array", "items", g.of(t.Elem()))
		if t.Name() == "" || t == reflect.TypeFor[Steps]() {
			return list
		}
		return object("oneOf", []any{g.of(t.Elem()), list})
	case reflect.Bool:
		return object("type", "boolean")
	case reflect.Int:
		return object("type", "integer")
	}
	return anyText
}

func hasFields(t reflect.Type) bool { return len(fieldsOf(t)) > 0 }

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// either is a short form, or the mapping of the fields.
func (g *generator) either(name string, t reflect.Type, short yaml.MapSlice) yaml.MapSlice {
	return object("oneOf", []any{short, g.named(name, t)})
}

// named puts the schema of a struct among the definitions.
func (g *generator) named(name string, t reflect.Type) yaml.MapSlice {
	if !g.done[name] {
		g.done[name] = true
		g.defs = append(g.defs, yaml.MapItem{Key: name, Value: g.object(t)})
	}
	return object("$ref", "#/$defs/"+name)
}

func (g *generator) object(t reflect.Type) yaml.MapSlice {
	properties, required := yaml.MapSlice{}, []any{}
	for _, f := range fieldsOf(t) {
		s := append(yaml.MapSlice{{Key: "description", Value: f.doc}}, g.of(f.typ)...)
		if f.enum != nil {
			s = object("description", f.doc, "enum", texts(f.enum))
		}
		properties = append(properties, yaml.MapItem{Key: f.name, Value: s})
		if f.need {
			required = append(required, f.name)
		}
	}
	m := object("type", "object", "properties", properties, "additionalProperties", false)
	if len(required) > 0 {
		m = append(m, yaml.MapItem{Key: "required", Value: required})
	}
	return m
}
