// SPDX-License-Identifier: Apache-2.0

// Package backends tests that a backend is a folder and a row in each table: a complete one is added to a copy of
// the module, by the Go tool's overlay, and goes through all of the product without a change to any other file.
package backends

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// row is what one table gets.
type row struct {
	file string
	// before the text at, text is put.
	at, text string
}

// rows are the rows of the backend: all that is changed outside of its folder.
func rows() []row {
	const scheme, table = "pkg/signing/scheme.go", "pkg/backends/backends.go"
	const signer = "pkg/backends/inpod/inpod.go"
	const module = `"github.com/tekton-sign/kubectl-tekton-sign/pkg/`
	return []row{
		{scheme, "	BackendSigstoreKeyless Backend = ", "	BackendFake Backend = \"fake\"\n"},
		{scheme, "BackendSPIRE, BackendSigstoreKeyless, ", "BackendFake, "},
		{scheme, "	SchemeOIDCAudienceOnly Scheme = 6", "	SchemeFake Scheme = 9\n"},
		{scheme, "	{\n		scheme: SchemeSPIRE,", `	{
		scheme: SchemeFake, backend: BackendFake,
		carriers: []string{CarrierManifest, CarrierManifestSignature, CarrierPublicKey}, key: CarrierPublicKey,
		algorithms: []Algorithm{AlgorithmECDSAP256}, assurance: AssuranceKeyBound, words: "key of a test",
	},
`},
		{table, "	oidccluster " + module, "	fakecluster " + module + "signing/fake/cluster\"\n"},
		{table, "		{\n			Name:    signing.BackendSPIRE,", `		{
			Name: signing.BackendFake, Summary: "signs with a key of a test", Enabled: true, Signs: true,
			Reader: fakecluster.NewReader,
		},
`},
		{signer, "	" + module + "signing/oidc\"", "	" + module + "signing/fake\"\n"},
		{signer, "		signing.BackendOIDCSAToken: func", `		signing.BackendFake: func(s step.Ended) signing.EntrypointerClient {
			return fake.Signer{Step: s.Config, ExitCode: s.ExitCode, Now: time.Now(), Random: rand.Reader}
		},
`},
	}
}

// added are the files of the backend's folder and the tests of its own, from the folder testdata to where they belong.
var added = map[string]string{
	"fake":                 "pkg/signing/fake",
	"inner/plugin_test.go": "pkg/cli/fakebackend_test.go",
	"inner/addon_test.go":  "pkg/admission/fakebackend_test.go",
}

// TestAnotherBackend signs, injects, enables, judges, records and shows with a backend that the product does not have.
func TestAnotherBackend(t *testing.T) {
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	data, err := json.Marshal(map[string]map[string]string{"Replace": replacements(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want string, args ...string) {
		command := exec.CommandContext(t.Context(), "go", args...)
		command.Dir = root
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), want) {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
		}
	}
	run("", "build", "-overlay", overlay, "-o", os.DevNull, "./cmd/signer")
	run("--- PASS: TestFakeBackend", "test", "-overlay", overlay, "-count=1", "-vet=off", "-v", "-run",
		"^TestFakeBackend", "./pkg/cli")
	run("--- PASS: TestFakeBackendIsJudged", "test", "-overlay", overlay, "-count=1", "-vet=off", "-v", "-run",
		"^TestFakeBackend", "./pkg/admission")
}

// replacements returns what the Go tool takes in place of each file.
func replacements(t *testing.T) map[string]string {
	t.Helper()
	replaced := map[string]string{}
	changed := map[string]string{}
	for _, r := range rows() {
		if changed[r.file] == "" {
			data, err := os.ReadFile(filepath.Join(root, r.file))
			if err != nil {
				t.Fatal(err)
			}
			changed[r.file] = string(data)
		}
		if n := strings.Count(changed[r.file], r.at); n != 1 {
			t.Fatalf("%s holds %q %d times, expected once", r.file, r.at, n)
		}
		changed[r.file] = strings.Replace(changed[r.file], r.at, r.text+r.at, 1)
	}
	dir := t.TempDir()
	for file, text := range changed {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[absolute(t, root, file)] = copied
	}
	for from, to := range added {
		addFiles(t, replaced, filepath.Join("testdata", from), to)
	}
	return replaced
}

// addFiles adds a file, or each file of a folder.
func addFiles(t *testing.T, replaced map[string]string, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		replaced[absolute(t, root, filepath.Join(to, below))] = absolute(t, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
