package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds how many nodes are decoded: aliases can name one many times.
const maxNodes = 100_000

// maxDepth bounds how deep lists and mappings are nested.
const maxDepth = 40

// positions remember where a value was written, by its path: "apps.web.to".
type positions map[string]position

type position struct{ line, column int }

// decoder turns a syntax tree into values, and gathers mistakes.
type decoder struct {
	file     string
	problems []Problem
	anchors  map[string]ast.Node
	at       positions
	nodes    int
	depth    int
}

// decodable is a value that decodes itself.
type decodable interface {
	decode(d *decoder, n ast.Node, at string)
}

// fail records a mistake.
func (d *decoder) fail(n ast.Node, at, message, hint string) {
	line, column := place(n)
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Path: at, Message: message, Hint: hint})
}

func place(n ast.Node) (line, column int) {
	if n == nil {
		return 1, 1
	}
	if pair, ok := n.(*ast.MappingValueNode); ok {
		return place(pair.Key)
	}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return place(m.Values[0].Key)
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line, tk.Position.Column
	}
	return 1, 1
}

// resolve follows tags, anchors and aliases to what they stand for.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch v := n.(type) {
		case *ast.AnchorNode:
			d.anchors[v.Name.String()] = v.Value
			n = v.Value
		case *ast.AliasNode:
			to, ok := d.anchors[v.Value.String()]
			if !ok {
				return nil
			}
			n = to
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
	return nil
}

// scalar reports whether the node is one text.
func scalar(n ast.Node) bool {
	_, ok := textOf(n)
	return ok
}

// textOf returns a scalar as it was written; null is none.
func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// into decodes a node into the value that to points to.
func (d *decoder) into(n ast.Node, to any, at string) { d.value(n, reflect.ValueOf(to).Elem(), at) }

func (d *decoder) value(n ast.Node, v reflect.Value, at string) {
	if d.nodes++; d.nodes > maxNodes || d.depth > maxDepth {
		if d.nodes <= maxNodes+1 {
			d.fail(n, at, "the configuration is too large or too deep", "")
			d.nodes = maxNodes + 1
		}
		return
	}
	d.depth++
	defer func() { d.depth-- }()
	if _, ok := d.at[at]; !ok {
		line, column := place(n)
		d.at[at] = position{line, column}
	}
	r := d.resolve(n)
	switch {
	case r == nil:
		d.fail(n, at, "this alias names nothing above it", "")
		return
	case r.Type() == ast.NullType:
		d.fail(n, at, "the value is missing", "remove the key, or give it a value")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	p := v.Addr().Interface()
	if own, ok := p.(decodable); ok {
		own.decode(d, r, at)
		return
	}
	text, isText := textOf(r)
	if own, ok := p.(texter); ok && (isText || v.Kind() != reflect.Struct) {
		if !isText {
			d.fail(n, at, "want one value, not "+kindOf(r), "")
		} else if err := own.fromText(text); err != nil {
			d.fail(n, at, fmt.Sprintf("%s: %v", quote(text), err), "")
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(r, v, at)
	case reflect.Map:
		d.mapping(r, v, at)
	case reflect.Slice:
		d.list(r, v, at)
	default:
		d.scalar(r, v, at)
	}
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "a single value"
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, at string) {
	text, ok := textOf(n)
	if !ok {
		d.fail(n, at, "want one value, not "+kindOf(n), "")
		return
	}
	switch v.Kind() {
	case reflect.String:
		if c, ok := v.Interface().(chooser); ok && !d.oneOf(n, at, text, c.choices()) {
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, isBool := n.(*ast.BoolNode)
		if !isBool {
			d.fail(n, at, quote(text)+": want true or false", "")
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			d.fail(n, at, quote(text)+": want a number", "")
			return
		}
		v.SetInt(i)
	default:
		panic("config: internal error: no decoding of " + v.Type().String())
	}
}

// oneOf reports a text that is none of few.
func (d *decoder) oneOf(n ast.Node, at, text string, choices []string) bool {
	for _, c := range choices {
		if c == text {
			return true
		}
	}
	hint := ""
	if near := nearest(text, choices); near != "" {
		hint = "is " + near + " meant?"
	}
	d.fail(n, at, fmt.Sprintf("%s: want %s", quote(text), orList(choices)), hint)
	return false
}

// list decodes a sequence; one value stands for a list of itself where the type
// has a plural name of its own (Strings, Schedule, Moments, Bands).
func (d *decoder) list(n ast.Node, v reflect.Value, at string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if v.Type().Name() != "" && scalar(n) {
			one := reflect.New(v.Type().Elem()).Elem()
			d.value(n, one, at)
			v.Set(reflect.Append(reflect.MakeSlice(v.Type(), 0, 1), one))
			return
		}
		d.fail(n, at, "want a list, not "+kindOf(n), "")
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, min(len(seq.Values), 1024))
	for i, e := range seq.Values {
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(e, one, at+"["+strconv.Itoa(i)+"]")
		out = reflect.Append(out, one)
	}
	v.Set(out)
}

// pairs returns the entries of a mapping, and reports keys that come twice.
func (d *decoder) pairs(n ast.Node, at string) (list []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		list = n.Values
	case *ast.MappingValueNode:
		list = []*ast.MappingValueNode{n}
	default:
		d.fail(n, at, "want a mapping, not "+kindOf(n), "")
		return nil, false
	}
	seen := map[string]bool{}
	kept := list[:0:0]
	for _, p := range list {
		key := keyOf(p)
		switch {
		case p.Key.IsMergeKey():
			d.fail(p.Key, at, "merge keys are not supported", "what applications have in common stands in defaults")
			continue
		case seen[key]:
			d.fail(p.Key, join(at, key), "the key "+quote(key)+" comes twice", "")
			continue
		}
		seen[key] = true
		kept = append(kept, p)
	}
	return kept, true
}

func keyOf(p *ast.MappingValueNode) string {
	if n, ok := p.Key.(ast.Node); ok {
		if s, ok := textOf(n); ok {
			return s
		}
	}
	return p.Key.GetToken().Value
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, at string) {
	list, ok := d.pairs(n, at)
	if !ok {
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, p := range list {
		key := keyOf(p)
		if key == "" {
			d.fail(p.Key, at, "the name is empty", "")
			continue
		}
		line, column := place(p.Key)
		d.at[join(at, key)] = position{line, column}
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(p.Value, one, join(at, key))
		if one.Kind() == reflect.Pointer && one.IsNil() {
			continue
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), one)
	}
	v.Set(out)
}

func (d *decoder) structure(n ast.Node, v reflect.Value, at string) {
	list, ok := d.pairs(n, at)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for _, p := range list {
		key := keyOf(p)
		f, ok := fields.find(key)
		if !ok {
			d.unknown(p, key, fields, at)
			continue
		}
		given[key] = true
		line, column := place(p.Value)
		d.at[join(at, key)] = position{line, column}
		to := v.FieldByIndex(f.index)
		d.value(p.Value, to, join(at, key))
		if f.enum != nil && to.String() != "" {
			d.oneOf(p.Value, join(at, key), to.String(), f.enum)
		}
	}
	for _, f := range fields {
		if f.need && !given[f.name] {
			d.fail(n, at, "the key "+f.name+" is missing", f.doc)
		}
	}
}

// secretKeys are keys that somebody expects to hold a secret.
var secretKeys = []string{"password", "passphrase", "secret", "token", "secret-key", "access-key", "api-key", "key"}

func (d *decoder) unknown(p *ast.MappingValueNode, key string, fields fieldList, at string) {
	names := fields.names()
	var places []string
	for _, name := range names {
		for _, secret := range secretKeys {
			if strings.HasPrefix(name, secret+"-") && strings.EqualFold(strings.ReplaceAll(key, "_", "-"), secret) {
				places = append(places, name)
			}
		}
	}
	if len(places) > 0 {
		d.fail(p.Key, join(at, key), "a secret does not stand in a configuration", "say where it is: "+orList(places))
		return
	}
	hint := "known here: " + strings.Join(names, ", ")
	if near := nearest(key, names); near != "" {
		hint = "is " + near + " meant?"
	}
	d.fail(p.Key, join(at, key), "there is no key "+quote(key)+" here", hint)
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func positionOf(p *token.Position) (int, int) {
	if p == nil {
		return 1, 1
	}
	return p.Line, p.Column
}
