package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// schema is what docs/json.schema.json uses of JSON Schema 2020-12. Keywords
// that are not here make loading fail, so that none is ignored.
type schema struct {
	Ref         string            `json:"$ref"`
	OneOf       []schema          `json:"oneOf"`
	AllOf       []schema          `json:"allOf"`
	Type        string            `json:"type"`
	Const       any               `json:"const"`
	Enum        []any             `json:"enum"`
	Pattern     string            `json:"pattern"`
	Minimum     *float64          `json:"minimum"`
	Maximum     *float64          `json:"maximum"`
	Items       *schema           `json:"items"`
	Properties  map[string]schema `json:"properties"`
	Required    []string          `json:"required"`
	Closed      *bool             `json:"unevaluatedProperties"`
	Additional  *schema           `json:"additionalProperties"`
	Defs        map[string]schema `json:"$defs"`
	Draft       string            `json:"$schema"`
	ID          string            `json:"$id"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Encoding    string            `json:"contentEncoding"`
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func loadSchema(t fataler) *schema {
	_, here, _, _ := runtime.Caller(0)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "docs", "json.schema.json"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	s := new(schema)
	if err := d.Decode(s); err != nil {
		t.Fatalf("docs/json.schema.json: %v", err)
	}
	return s
}

// validate checks one line of output.
func (s *schema) validate(line string) error {
	if !strings.HasPrefix(line, `{"message_type":`) {
		return errors.New("message_type is not the first field")
	}
	var v any
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		return err
	}
	kind, _ := v.(map[string]any)["message_type"].(string)
	var errs []error
	for _, alternative := range s.OneOf {
		target := s.follow(alternative)
		if c, ok := target.Properties["message_type"]; !ok || c.Const != kind {
			continue
		}
		known := map[string]bool{}
		err := s.check(alternative, v, "message", known)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return fmt.Errorf("message_type %q is not in the schema", kind)
	}
	return errors.Join(errs...)
}

func (s *schema) follow(t schema) schema {
	if name, ok := strings.CutPrefix(t.Ref, "#/$defs/"); ok {
		def, ok := s.Defs[name]
		if !ok {
			panic("schema: no definition " + name)
		}
		return def
	}
	return t
}

// check validates v against t; known collects the properties that were looked at.
func (s *schema) check(t schema, v any, at string, known map[string]bool) error {
	t = s.follow(t)
	for _, part := range t.AllOf {
		if err := s.check(part, v, at, known); err != nil {
			return err
		}
	}
	if t.Const != nil && t.Const != v {
		return fmt.Errorf("%s is %v, want %v", at, v, t.Const)
	}
	if t.Enum != nil && !slices.Contains(t.Enum, v) {
		return fmt.Errorf("%s is %v, want one of %v", at, v, t.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		if t.Type != "" && t.Type != "object" {
			return fmt.Errorf("%s is an object, want %s", at, t.Type)
		}
		return s.checkObject(t, v, at, known)
	case []any:
		if t.Type != "array" {
			return fmt.Errorf("%s is an array, want %s", at, t.Type)
		}
		for i, e := range v {
			if err := s.check(*t.Items, e, fmt.Sprintf("%s[%d]", at, i), map[string]bool{}); err != nil {
				return err
			}
		}
	case string:
		if t.Type != "string" && t.Const == nil && t.Enum == nil {
			return fmt.Errorf("%s is a string, want %s", at, t.Type)
		}
		if t.Pattern != "" && !regexp.MustCompile(t.Pattern).MatchString(v) {
			return fmt.Errorf("%s is %q, which does not match %s", at, v, t.Pattern)
		}
	case float64:
		if t.Type != "number" && (t.Type != "integer" || v != float64(int64(v))) {
			return fmt.Errorf("%s is the number %v, want %s", at, v, t.Type)
		}
		if t.Minimum != nil && v < *t.Minimum || t.Maximum != nil && v > *t.Maximum {
			return fmt.Errorf("%s is %v, out of range", at, v)
		}
	case bool:
		if t.Type != "boolean" {
			return fmt.Errorf("%s is a boolean, want %s", at, t.Type)
		}
	default:
		return fmt.Errorf("%s is %v", at, v)
	}
	return nil
}

func (s *schema) checkObject(t schema, v map[string]any, at string, known map[string]bool) error {
	for _, name := range t.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	for name, value := range v {
		p, ok := t.Properties[name]
		switch {
		case ok:
		case t.Additional != nil:
			p = *t.Additional
		default:
			continue
		}
		known[name] = true
		if err := s.check(p, value, at+"."+name, map[string]bool{}); err != nil {
			return err
		}
	}
	if t.Closed != nil && !*t.Closed {
		for name := range v {
			if !known[name] {
				return fmt.Errorf("%s has %s, which the schema does not know", at, name)
			}
		}
	}
	return nil
}

// TestSchema makes sure that the validation above refuses something.
func TestSchema(t *testing.T) {
	s := loadSchema(t)
	good := `{"message_type":"exit_error","code":14,"message":"m","hint":"h"}`
	if err := s.validate(good); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"other type":   `{"message_type":"unheard of"}`,
		"not first":    `{"code":14,"message_type":"exit_error","message":"m"}`,
		"missing":      `{"message_type":"exit_error","code":14}`,
		"unknown":      `{"message_type":"exit_error","code":14,"message":"m","more":1}`,
		"wrong kind":   `{"message_type":"exit_error","code":"14","message":"m"}`,
		"not in range": `{"message_type":"exit_error","code":0,"message":"m"}`,
		"fraction":     `{"message_type":"exit_error","code":1.5,"message":"m"}`,
		"bad id":       `{"message_type":"initialized","id":"XYZ","repository":"/r"}`,
		"no JSON":      `{"message_type":"exit_error"`,
	} {
		if err := s.validate(bad); err == nil {
			t.Errorf("%s: accepted %s", what, bad)
		}
	}
}

// TestSchemaCoversMessages: every message in messages*.go has its entry.
func TestSchemaCoversMessages(t *testing.T) {
	s := loadSchema(t)
	files, err := filepath.Glob("messages*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, b...)
	}
	found := 0
	for _, m := range regexp.MustCompile("message_type\"` // \"([a-z_]+)\"").FindAllSubmatch(source, -1) {
		found++
		if !slices.ContainsFunc(s.OneOf, func(a schema) bool {
			return s.follow(a).Properties["message_type"].Const == string(m[1])
		}) {
			t.Errorf("docs/json.schema.json has no message %q", m[1])
		}
	}
	if found < 20 {
		t.Errorf("found only %d messages in messages*.go", found)
	}
}
