// SPDX-License-Identifier: Apache-2.0

// Package shape tests the shape of the module: how long files and functions are, how much one type does, in
// which direction packages import each other, and how many files name a backend.
package shape

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/tekton-sign/kubectl-tekton-sign"
	root   = "../.."
)

// maxMethods is how many methods a type may have.
const maxMethods = 30

// source is a file of Go code.
type source struct {
	name   string // below the module's folder, with slashes
	text   string
	syntax *ast.File
	lines  *token.File
}

func (s source) folder() string  { return path.Dir(s.name) }
func (s source) isTest() bool    { return strings.HasSuffix(s.name, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.syntax) }

// line returns the number of the line of a position, from 1.
func (s source) line(pos token.Pos) int { return s.lines.Line(pos) }

// imports returns the packages that a file imports: those of the module, by folder, and all others.
func (s source) imports() (ours, others []string) {
	for _, spec := range s.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		if folder, ok := strings.CutPrefix(name, module+"/"); ok {
			ours = append(ours, folder)
		} else {
			others = append(others, name)
		}
	}
	return ours, others
}

// sources returns every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata" ||
			d.Name() == "tools"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		list = append(list, source{filepath.ToSlash(below), string(text), syntax, files.File(syntax.Pos())})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 100 {
		t.Fatalf("%d files, expected those of the whole module", len(list))
	}
	return list
}

// No type of the product has so many methods that its purpose is unclear. Types for tests may be large.
func TestTypesAreSmall(t *testing.T) {
	methods := map[string]int{}
	for _, s := range sources(t) {
		if s.generated() || s.isTest() || strings.HasPrefix(s.name, "test/") {
			continue
		}
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				methods[s.folder()+"."+receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("type %s has %d methods, expected at most %d: take it apart", name, n, maxMethods)
		}
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// layers are the folders of the module, the lowest first. A package may import packages of its own folder and
// of those before it.
var layers = []string{
	"internal", "config", "pkg/version", "pkg/signing", "pkg/settings", "pkg/verify/trust", clusterHalves, "pkg/backends",
	"pkg/verify", "pkg/evidence", "pkg/chains", "pkg/seal",
	"pkg/pipelines", "pkg/delivery", "pkg/inject", "pkg/enable", "pkg/status", "pkg/preflight", "pkg/selftest",
	"pkg/budget", "pkg/report", "pkg/runs",
	"pkg/admission", "pkg/reconciler", "pkg/metrics",
	"pkg/cli", "cmd", "test", "hack",
}

// clusterHalves matches the cluster halves of the backends, each in the folder cluster of its backend. What they share
// is in sharedHalf.
const (
	clusterHalves = "pkg/signing/*/cluster"
	sharedHalf    = "pkg/signing/cluster"
)

// layerOf returns the index of a package's folder in layers, or -1 if it is not there.
func layerOf(folder string) int {
	if ok, _ := path.Match(clusterHalves, folder); ok || folder == sharedHalf {
		return slices.Index(layers, clusterHalves)
	}
	return slices.IndexFunc(layers, func(l string) bool { return folder == l || strings.HasPrefix(folder, l+"/") })
}

// No package imports one above it.
func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		own := layerOf(s.folder())
		if own < 0 {
			t.Errorf("%s: folder %s has no place among the layers: give it one", s.name, s.folder())
			continue
		}
		ours, _ := s.imports()
		for _, folder := range ours {
			if layerOf(folder) > own {
				t.Errorf("%s imports %s, which is above it", s.name, folder)
			}
		}
	}
}

// backends are the folders of the backends below pkg/signing.
var backends = []string{"oidc", "spire", "sigstore"}

// backendOf returns the backend to whose folder a package belongs, or the empty string.
func backendOf(folder string) string {
	for _, b := range backends {
		if name := "pkg/signing/" + b; folder == name || strings.HasPrefix(folder, name+"/") {
			return b
		}
	}
	return ""
}

// Backends do not depend on each other, shared code does not depend on a backend, and code that runs in a pod
// does not verify.
func TestBackendsStandAlone(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || !strings.HasPrefix(s.name, "pkg/signing/") || strings.HasPrefix(s.name, "pkg/signing/spiretest/") {
			continue
		}
		ours, others := s.imports()
		inCluster := strings.HasSuffix(s.folder(), "/cluster")
		verifies := inCluster || strings.HasSuffix(s.folder(), "/proof") || s.folder() == "pkg/signing/check"
		for _, folder := range ours {
			if other := backendOf(folder); other != "" && other != backendOf(s.folder()) {
				t.Errorf("%s imports %s, a backend that is not its own", s.name, folder)
			}
			if !verifies && (strings.HasSuffix(folder, "/proof") || folder == "pkg/signing/check") {
				t.Errorf("%s imports %s, which verifies", s.name, folder)
			}
		}
		for _, name := range others {
			if strings.HasPrefix(name, "k8s.io/client-go") && !inCluster {
				t.Errorf("%s imports %s: only the cluster half of a backend has a client", s.name, name)
			}
		}
	}
}

// pure are the folders of libraries that do not print, read files or open sockets.
var pure = []string{
	"pkg/signing", "pkg/signing/check", "pkg/signing/oidc/proof", "pkg/signing/spire", "pkg/signing/spire/proof",
	"pkg/verify", "pkg/verify/record",
}

// The verifier is also a library for other tools.
func TestLibrariesDoNothingElse(t *testing.T) {
	forbidden := []string{"os", "log", "log/slog", "flag", "net", "net/http", "k8s.io/client-go/rest",
		"github.com/spf13/cobra"}
	prints := regexp.MustCompile(`\bfmt\.(Print|Println|Printf)\(`)
	for _, s := range sources(t) {
		if s.isTest() || !slices.Contains(pure, s.folder()) {
			continue
		}
		_, others := s.imports()
		for _, name := range others {
			if slices.Contains(forbidden, name) {
				t.Errorf("%s imports %s", s.name, name)
			}
		}
		if found := prints.FindString(s.text); found != "" {
			t.Errorf("%s prints: %s", s.name, found)
		}
	}
}

// audiencePart matches the middle of a signing token's audience, or of a pattern of it.
var audiencePart = regexp.MustCompile(`:(?:[pkr]|\[[pkr]+\]):`)

// Only pkg/signing/audience.go knows the grammar of audiences. It writes it without such a literal.
func TestAudienceGrammarHasOneHome(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.name, "test/") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if ok && literal.Kind == token.STRING && audiencePart.MatchString(literal.Value) {
				t.Errorf("%s:%d writes an audience, %s: call package signing", s.name, s.line(literal.Pos()), literal.Value)
			}
			return true
		})
	}
}

// The manifests contain audiences in one policy, because kubectl applies them as they are. Package manifests renders
// that policy from the grammar, and its TestRenderReplacesEveryText compares the two.
func TestOneManifestHasAudiences(t *testing.T) {
	files, err := filepath.Glob(root + "/config/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if audiencePart.Match(text) {
			found = append(found, filepath.Base(name))
		}
	}
	if !slices.Equal(found, []string{"300-policies.yaml"}) {
		t.Errorf("manifests with audiences: %q, expected only 300-policies.yaml", found)
	}
}

// maxNaming is how many files outside of the backends' own folders name a backend, or something that only one
// of them has. It may only go down: a new backend is a folder and a row in each of the two tables.
const maxNaming = 12

var (
	naming = regexp.MustCompile(`(?i)oidc|spire|svid|spiffe|sigstore|fulcio|tokenreview|TokenLifetime|AudiencePrefix`)
	// mayName are the folders and files that may name backends: their own folders, the tables, and code for
	// tests.
	mayName = []string{
		"pkg/signing/oidc/", "pkg/signing/spire/", "pkg/signing/sigstore/", "pkg/signing/spiretest/", "pkg/signing/scheme.go",
		"pkg/backends/",
		"pkg/verify/verifytest/", "test/", "hack/",
	}
)

// Few files name the backends.
func TestFewFilesNameBackends(t *testing.T) {
	var found []string
	for _, s := range sources(t) {
		known := slices.ContainsFunc(mayName, func(prefix string) bool { return strings.HasPrefix(s.name, prefix) })
		if !s.isTest() && !known && naming.MatchString(s.text) {
			found = append(found, s.name)
		}
	}
	switch n := len(found); {
	case n > maxNaming:
		t.Errorf("%d files name a backend, expected at most %d:\n%s", n, maxNaming, strings.Join(found, "\n"))
	case n < maxNaming:
		t.Errorf("%d files name a backend, fewer than the %d before: let maxNaming go down", n, maxNaming)
	}
}
