package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the house. A package imports only packages of lower floors, never
// its neighbours. Helpers without domain meaning are the ground on which all
// stand.
var floors = map[string]int{
	"internal/wire":      ground,
	"internal/durable":   ground,
	"internal/display":   ground,
	"internal/match":     ground,
	"internal/cache":     ground,
	"internal/limit":     ground,
	"internal/sys":       ground,
	"internal/worklist":  ground,
	"internal/calendar":  ground,
	"internal/tidy":      ground,
	"docs/examples":      ground,
	"internal/fidelity":  ground,
	"internal/sim/model": ground,

	"chunk":         0,
	"crypto":        0,
	"backend":       0,
	"internal/pins": 0,

	"pack":                1,
	"backend/local":       1,
	"backend/mem":         1,
	"backend/sftp":        1,
	"backend/s3":          1,
	"backend/backendtest": 1,
	"internal/porttest":   1,

	"index":             2,
	"snapshot":          2,
	"internal/location": 2,

	"repo":              3,
	"internal/treetest": 3,

	"snapshot/archive": 4,
	"snapshot/compare": 4,
	"snapshot/export":  4,
	"snapshot/find":    4,
	"snapshot/restore": 4,
	"repo/check":       4,
	"repo/gc":          4,
	"repo/inspect":     4,
	"repo/repair":      4,
	"repo/stats":       4,
	"repo/transfer":    4,

	"internal/app/source": 4,

	"internal/app/config":           5,
	"internal/app/record":           5,
	"internal/app/pick":             5,
	"internal/app/source/pg":        5,
	"internal/app/source/mysql":     5,
	"internal/app/source/redis":     5,
	"internal/app/source/sqlite":    5,
	"internal/app/source/bucket":    5,
	"internal/app/source/container": 5,
	"internal/app/source/ns8":       5,
	"internal/app/source/dogu":      5,
	"internal/app/apptest":          6,

	"internal/repotest":     5,
	"internal/netfault":     5,
	"internal/sim":          5,
	"internal/save":         5,
	"internal/torture":      5,
	"backend/sftp/sftptest": 5,
	"backend/s3/s3test":     5,

	"internal/app/run":      6,
	"internal/app/schedule": 6,
	"internal/app/notify":   6,
	"internal/app/health":   6,
	"internal/app/verify":   6,

	"internal/app/e2e": 7,
	"cmd/vault":        7,
	"bench":            7,
	"bench/peers":      8,
}

const ground = -1

// planned packages have their floor already. Once they do their work they move
// to floors, and get their line in ARCHITECTURE.md.
var planned = map[string]int{}

func floorOf(pkg string) (floor int, ok bool) {
	if floor, ok = floors[pkg]; !ok {
		floor, ok = planned[pkg]
	}
	return floor, ok
}

// commandImports are the packages that a command may use: it parses, makes one
// call into the engine and renders. Drivers come through internal/location;
// the index and the encodings are nobody's business here.
var commandImports = []string{
	"backend", "chunk", "crypto", "pack", "repo", "repo/check", "repo/gc", "repo/inspect", "repo/repair", "repo/transfer", "repo/stats", "snapshot", "snapshot/archive", "snapshot/compare", "snapshot/export", "snapshot/find", "snapshot/restore",
	"internal/calendar", "internal/display", "internal/location", "internal/match", "internal/pins",
	"docs/examples", "internal/app/config", "internal/app/health", "internal/app/notify", "internal/app/record", "internal/app/run", "internal/app/schedule", "internal/app/verify", "internal/save",
}

// Lengths at which a file needs a reason, and files that have one.
const (
	maxFile    = 500
	maxTest    = 700
	maxCommand = 400
)

var longFiles = map[string]string{
	"repo/collection.go":            "the mechanics of one collection, in the order of the protocol",
	"snapshot/restore/sys_linux.go": "the system calls of one platform, side by side",
}

// file is one parsed Go file.
type file struct {
	name string // slash-separated, relative to the module's root
	pkg  string // its directory
	test bool
	ast  *ast.File
	set  *token.FileSet
	size int // lines
}

// module parses every Go file of the module.
func module(t *testing.T) []file {
	t.Helper()
	const root = "../.."
	var list []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, root), string(filepath.Separator)))
		if d.IsDir() {
			base := d.Name()
			if rel != "" && (base == "testdata" || base == "build" || base[0] == '.' || base[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, rel, src, parser.ParseComments)
		if err != nil {
			return err
		}
		list = append(list, file{name: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), ast: f, set: set,
			size: strings.Count(string(src), "\n")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("found only %d files", len(list))
	}
	return list
}

// imported returns the packages of this module that the file imports.
func (f file) imported(t *testing.T) []string {
	var list []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := strings.CutPrefix(p, "vault/"); ok {
			list = append(list, p)
		}
	}
	return list
}

// TestFloors: imports lead downward.
func TestFloors(t *testing.T) {
	for _, f := range module(t) {
		floor, ok := floorOf(f.pkg)
		if !ok {
			t.Errorf("%s: the package %s has no floor: give it one", f.name, f.pkg)
			continue
		}
		if f.test {
			continue // tests look at the house from outside
		}
		for _, p := range f.imported(t) {
			switch to, ok := floorOf(p); {
			case !ok:
				t.Errorf("%s imports %s, which has no floor", f.name, p)
			case to >= floor:
				t.Errorf("%s (floor %d) imports %s (floor %d)", f.name, floor, p, to)
			}
			if f.pkg == "cmd/vault" && !slices.Contains(commandImports, p) {
				t.Errorf("%s imports %s: a command has no business there", f.name, p)
			}
		}
	}
}

// TestFloorsExist: the table names no package that is gone.
func TestFloorsExist(t *testing.T) {
	there := map[string]bool{}
	for _, f := range module(t) {
		there[f.pkg] = true
	}
	for p := range floors {
		if !there[p] {
			t.Errorf("the table of floors has %s, which does not exist", p)
		}
	}
}

// TestDocumented: every package says what it is for, and ARCHITECTURE.md names it.
func TestDocumented(t *testing.T) {
	comment := map[string]string{}
	name := map[string]string{}
	for _, f := range module(t) {
		if f.test {
			continue
		}
		name[f.pkg] = f.ast.Name.Name
		if text := f.ast.Doc.Text(); len(text) > len(comment[f.pkg]) {
			comment[f.pkg] = text
		}
	}
	page, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for p, n := range name {
		if _, ok := planned[p]; ok {
			continue
		}
		want := "Package " + n + " "
		if n == "main" {
			want = "Command " + path.Base(p) + " "
		}
		if !strings.HasPrefix(comment[p], want) {
			t.Errorf("%s: its comment does not begin with %q", p, want)
		}
		if !strings.Contains(string(page), "`"+p+"`") {
			t.Errorf("ARCHITECTURE.md does not mention `%s`", p)
		}
	}
}

// TestSizes: files are short, or say why not.
func TestSizes(t *testing.T) {
	long := map[string]bool{}
	for _, f := range module(t) {
		limit := maxFile
		switch {
		case f.test:
			limit = maxTest
		case f.pkg == "cmd/vault":
			limit = maxCommand
		}
		if f.size <= limit {
			continue
		}
		long[f.name] = true
		if longFiles[f.name] == "" {
			t.Errorf("%s has %d lines, limit %d: split it, or give a reason in longFiles", f.name, f.size, limit)
		}
	}
	for name := range longFiles {
		if _, err := os.Stat("../../" + name); err != nil {
			t.Errorf("longFiles: %v", err)
		}
	}
}

// TestQuietEngine: nothing prints below the commands, and nothing on floors 0
// to 3 asks the clock. A default in a struct of options is a value, not a call.
func TestQuietEngine(t *testing.T) {
	forbidden := map[string]int{ // up to which floor
		"fmt.Print": 6, "fmt.Printf": 6, "fmt.Println": 6, "os.Stdout": 6, "os.Stderr": 6, "os.Exit": 6,
		"log.Print": 6, "log.Printf": 6, "log.Println": 6, "log.Fatal": 6, "log.Fatalf": 6,
		"time.Now": 3, "time.Since": 3, "time.Until": 3, "time.Sleep": 3,
	}
	for _, f := range module(t) {
		if f.test || f.pkg == "internal/repotest" || f.pkg == "backend/backendtest" {
			continue
		}
		calls := map[ast.Expr]bool{}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				calls[n.Fun] = true
				if id, ok := n.Fun.(*ast.Ident); ok && id.Obj == nil && (id.Name == "println" || id.Name == "print") {
					t.Errorf("%s: %s", f.set.Position(n.Pos()), id.Name)
				}
			case *ast.SelectorExpr:
				id, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				what := id.Name + "." + n.Sel.Name
				limit, bad := forbidden[what]
				if floor, _ := floorOf(f.pkg); bad && floor <= limit && (calls[n] || strings.HasPrefix(what, "os.Std")) {
					t.Errorf("%s: %s on floor %d", f.set.Position(n.Pos()), what, floor)
				}
			}
			return true
		})
	}
}

// TestGoVersion: os.Root has known escapes before Go 1.26.5.
func TestGoVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		version, ok := strings.CutPrefix(strings.TrimSpace(line), "go ")
		if !ok {
			continue
		}
		if !atLeast(version, "1.26.5") {
			t.Errorf("go.mod says go %s, want at least 1.26.5", version)
		}
		return
	}
	t.Error("go.mod names no version of Go")
}

func atLeast(version, least string) bool {
	number := func(s string) (n [3]int) {
		for i, part := range strings.SplitN(s, ".", 3) {
			n[i], _ = strconv.Atoi(part)
		}
		return n
	}
	v, l := number(version), number(least)
	return slices.Compare(v[:], l[:]) >= 0
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{"1.26.5": true, "1.26.10": true, "1.27": true, "2.0.0": true, "1.26.4": false, "1.26": false, "1.9.9": false} {
		if atLeast(version, "1.26.5") != want {
			t.Errorf("atLeast(%s) is %t", version, !want)
		}
	}
}
