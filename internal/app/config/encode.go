package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
)

// YAML returns the application as a configuration file would have it, everything
// that defaults say included.
func (a *App) YAML() ([]byte, error) {
	tree := yaml.MapSlice{{Key: "apps", Value: yaml.MapSlice{{Key: a.Name, Value: encode(reflect.ValueOf(a).Elem())}}}}
	out, err := yaml.MarshalWithOptions(tree, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("show application %s: %w", a.Name, err)
	}
	return out, nil
}

// JSON returns the same as one JSON object, the value of the application.
func (a *App) JSON() ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, encode(reflect.ValueOf(a).Elem())); err != nil {
		return nil, fmt.Errorf("show application %s: %w", a.Name, err)
	}
	return b.Bytes(), nil
}

// encode returns what stands in a file for a value: nil for one that is left out.
func encode(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		if b, ok := v.Interface().(*bool); ok { // said, and not the same as not said
			return *b
		}
		v = v.Elem()
	}
	if v.IsZero() {
		return nil
	}
	switch own := v.Interface().(type) {
	case Phase:
		return encode(reflect.ValueOf(own.Steps))
	case Command:
		if own.Shell == "" && reflect.DeepEqual(own, Command{Run: own.Run}) {
			return own.Run
		}
	case Count:
		if own >= 0 {
			return int(own)
		}
		return own.String()
	case fmt.Stringer:
		if _, short := v.Addr().Interface().(texter); short {
			return own.String()
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		return encodeStruct(v)
	case reflect.Map:
		out := yaml.MapSlice{}
		keys := map[string]reflect.Value{}
		for _, k := range v.MapKeys() {
			keys[k.String()] = v.MapIndex(k)
		}
		order := slices.Sorted(maps.Keys(keys))
		if volumes, ok := v.Interface().(map[string]*Volume); ok {
			slices.SortStableFunc(order, func(a, b string) int { return volumes[a].rank - volumes[b].rank })
		}
		for _, k := range order {
			value := reflect.New(keys[k].Type()).Elem() // addressable
			value.Set(keys[k])
			out = append(out, yaml.MapItem{Key: k, Value: encode(value)})
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = encode(v.Index(i))
		}
		return out
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}

func encodeStruct(v reflect.Value) any {
	out := yaml.MapSlice{}
	for _, f := range fieldsOf(v.Type()) {
		if value := encode(v.FieldByIndex(f.index)); value != nil {
			out = append(out, yaml.MapItem{Key: f.name, Value: value})
		}
	}
	return out
}

// writeJSON writes an encoded value with the fields in their order.
func writeJSON(b *bytes.Buffer, value any) error {
	m, ok := value.(yaml.MapSlice)
	if list, isList := value.([]any); isList {
		b.WriteByte('[')
		for i, e := range list {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	if !ok {
		text, err := json.Marshal(value)
		b.Write(text)
		return err
	}
	b.WriteByte('{')
	for i, item := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(item.Key)
		if err != nil {
			return err
		}
		b.Write(key)
		b.WriteByte(':')
		if err := writeJSON(b, item.Value); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}
