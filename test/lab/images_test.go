// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestPackIsCachedByContent(t *testing.T) {
	folder := t.TempDir()
	binary := filepath.Join(folder, "program")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(binary, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pack := func(cache string) string {
		t.Helper()
		path, err := tektonArchive("nop", "v1", binary).pack(filepath.Join(folder, cache))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("one")
	first, elsewhere := pack("a"), pack("b")
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("packed twice: expected the same bytes, got different ones")
	}
	info, _ := os.Stat(first)
	if again := pack("a"); again != first {
		t.Errorf("same content: expected %s, got %s", first, again)
	}
	if later, _ := os.Stat(first); !os.SameFile(info, later) {
		t.Error("same content: expected the cached file, got a new one")
	}
	write("two")
	if changed := pack("a"); changed == first {
		t.Errorf("other content: expected another file than %s, got the same", first)
	}
}
