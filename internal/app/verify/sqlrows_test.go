package verify

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func allRows(text string) (list []string, seen int, err error) {
	seen, err = rows(bufio.NewReader(strings.NewReader(text)), "files", func(m map[string]value) error {
		list = append(list, fmt.Sprintf("%s=%s/%v", m["uuid"].text, m["n"].text, m["n"].null))
		return nil
	})
	return list, seen, err
}

func TestRows(t *testing.T) {
	const create = "CREATE TABLE public.files (\n    uuid character varying(64) NOT NULL,\n    \"n\" bigint,\n    CONSTRAINT x CHECK (true)\n);\n"
	for what, c := range map[string]struct{ text, want string }{
		"copy":                    {"COPY public.files (uuid, n) FROM stdin;\na\t1\nb\t\\N\n\\.\n", "a=1/false b=\\N/true"},
		"escapes":                 {"COPY files (n, uuid) FROM stdin;\n1\ta\\\\b\\tc\n\\.\n", "a\\b\tc=1/false"},
		"another table":           {"COPY public.others (text) FROM stdin;\nCOPY public.files (uuid, n) FROM stdin;\n\\.\nCOPY public.files2 (uuid, n) FROM stdin;\na\t1\n\\.\n", ""},
		"two blocks":              {"COPY public.files (uuid, n) FROM stdin;\n\\.\nCOPY \"public\".\"files\" (\"uuid\", \"n\") FROM stdin;\na\t1\n\\.\n", "a=1/false"},
		"insert":                  {create + "INSERT INTO public.files VALUES ('a', 1);\nINSERT INTO public.files VALUES ('b', NULL);\n", "a=1/false b=NULL/true"},
		"insert with names":       {"INSERT INTO public.files (n, uuid) VALUES (1, 'a'), (-2, 'it''s');\n", "a=1/false it's=-2/false"},
		"insert over lines":       {"INSERT INTO public.files (n, uuid) VALUES\n\t(1, 'a'),\n\t(2, 'b');\n", "a=1/false b=2/false"},
		"a long line before it":   {strings.Repeat("x", maxSQLLine+100) + "\nCOPY files (uuid, n) FROM stdin;\na\t1\n\\.\n", "a=1/false"},
		"nothing":                 {"", ""},
		"a table without columns": {"CREATE TABLE public.files (\n);\n", ""},
	} {
		list, _, err := allRows(c.text)
		if got := strings.Join(list, " "); err != nil || got != c.want {
			t.Errorf("%s: %q, want %q, %v", what, got, c.want, err)
		}
	}
	for what, text := range map[string]string{
		"no end":             "COPY files (uuid, n) FROM stdin;\na\t1\n",
		"a field too many":   "COPY files (uuid, n) FROM stdin;\na\t1\t2\n\\.\n",
		"no columns":         "COPY files FROM stdin;\n\\.\n",
		"insert, fields":     "INSERT INTO files (uuid) VALUES ('a', 1);\n",
		"insert, unknown":    "INSERT INTO files VALUES ('a', 1);\n",
		"insert, no end":     "INSERT INTO files (uuid, n) VALUES ('a', 1),\n",
		"insert, text":       "INSERT INTO files (uuid, n) VALUES ('a, 1);\n",
		"insert, no row":     "INSERT INTO files (uuid, n) VALUES x;\n",
		"insert, half a row": "INSERT INTO files (uuid, n) VALUES ('a' 1);\n",
		"insert, select":     "INSERT INTO files (uuid, n) SELECT 1;\n",
		"create, no end":     "CREATE TABLE files (\n",
	} {
		if list, _, err := allRows(text); !errors.Is(err, errSQL) {
			t.Errorf("%s: %v, %v", what, list, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add("COPY public.files (uuid, n) FROM stdin;\na\t1\nb\t\\N\n\\.\n")
	f.Add("CREATE TABLE files (\n  uuid text,\n n int\n);\nINSERT INTO files VALUES ('a''b', 1), (NULL, 2);\n")
	f.Add("INSERT INTO public.files (n, uuid) VALUES\n\t(1, 'a'),\n\t(2, 'b');\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, seen, err := allRows(text)
		if len(list) > 0 && seen == 0 {
			t.Fatal("rows out of nothing")
		}
		if size := len(strings.Join(list, "")); size > 40*len(text) {
			t.Fatalf("%d bytes out of %d, %v", size, len(text), err)
		}
	})
}
