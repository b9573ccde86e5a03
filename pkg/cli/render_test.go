// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func manifestOf(kind, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetKind(kind)
	u.SetName(name)
	return u
}

func namesIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A second run removes what the first one wrote, and nothing else.
func TestRenderReplacesItsFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	two := []*unstructured.Unstructured{manifestOf("Role", "a:b"), manifestOf("Service", "c")}
	if err := render(folder, two); err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(folder, "notes.md")
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := render(folder, []*unstructured.Unstructured{manifestOf("Role", "d")}); err != nil {
		t.Fatal(err)
	}
	want := []string{"000-role-d.yaml", kustomization, "notes.md"}
	if diff := cmp.Diff(want, namesIn(t, folder)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A list that names other files removes none of them.
func TestRenderRemovesNoForeignFiles(t *testing.T) {
	for name, content := range map[string]string{
		"of others":         "resources: [000-role-a.yaml]\n",
		"outside":           renderedMark + "resources: [../000-role-a.yaml]\n",
		"another file here": renderedMark + "resources: [notes.md]\n",
		"not YAML":          renderedMark + "resources: [",
	} {
		parent := t.TempDir()
		folder := filepath.Join(parent, "out")
		if err := os.Mkdir(folder, 0o750); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"../000-role-a.yaml", "000-role-a.yaml", "notes.md"} {
			if err := os.WriteFile(filepath.Join(folder, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, kustomization), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := render(folder, []*unstructured.Unstructured{manifestOf("Role", "b")}); err == nil {
			t.Errorf("%s: the folder is accepted", name)
		}
		if got := append(namesIn(t, folder), namesIn(t, parent)...); len(got) != 5 {
			t.Errorf("%s: files are gone: %v", name, got)
		}
	}
}
