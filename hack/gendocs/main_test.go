// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocsAreCurrent fails when a command or its output changed and `make docs` was not run.
func TestDocsAreCurrent(t *testing.T) {
	const root = "../.."
	docs := t.TempDir()
	if err := generate(docs, root); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"cli", "images", "schema"} {
		want, got := read(t, filepath.Join(docs, folder)), read(t, filepath.Join(root, "docs", folder))
		if folder == "schema" { // a test of package report writes this one
			delete(got, "evidencereport.v1alpha1.json")
		}
		if len(want) == 0 {
			t.Errorf("nothing is generated in %s", folder)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("docs/%s is out of date: run make docs (-generated +committed):\n%s", folder, diff)
		}
	}
	committed, err := os.ReadFile(filepath.Join(root, "docs", preflightFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(preflightDocs()), string(committed)); diff != "" {
		t.Errorf("docs/%s is out of date: run make docs (-generated +committed):\n%s", preflightFile, diff)
	}
}

func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}
