// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/canonical"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// The code makes the vector in docs/record.md from testdata/taskrun.json.
func TestVector(t *testing.T) {
	p, err := project(testTaskRun(t))
	if err != nil {
		t.Fatal(err)
	}
	projected, err := canonical.JSON(p)
	if err != nil {
		t.Fatal(err)
	}
	statement := testStatement(t)
	golden(t, "projection.json", projected)
	golden(t, "statement.json", statement)
	subject, err := describe(testTaskRun(t))
	if err != nil {
		t.Fatal(err)
	}
	digest := DigestOf(statement)
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "record.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		fmt.Sprintf("projection %d bytes, SHA-256 %s\n", len(projected), subject.digest),
		fmt.Sprintf("without messages, SHA-256 %s\n", subject.withoutMessages),
		fmt.Sprintf("statement  %d bytes; M %d bytes, SHA-256 %s\n", len(statement), len(signing.MessageOf(statement)),
			hex.EncodeToString(digest[:])),
		"audience   " + signing.RecordAudience(signing.AudiencePrefix, digest) + "\n",
	} {
		if !strings.Contains(string(doc), line) {
			t.Errorf("expected docs/record.md to hold the line %q", line)
		}
	}
}

// TestVectorOfAReceipt makes the second vector in docs/record.md, of the same TaskRun. Each version is read as what it
// is.
func TestVectorOfAReceipt(t *testing.T) {
	statement := statementOf(t, testReceiptPredicate())
	golden(t, "statement-v2.json", statement)
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "record.md"))
	if err != nil {
		t.Fatal(err)
	}
	digest := DigestOf(statement)
	for _, line := range []string{
		fmt.Sprintf("statement  %d bytes; M %d bytes, SHA-256 %s\n", len(statement), len(signing.MessageOf(statement)),
			hex.EncodeToString(digest[:])),
		"audience   " + signing.RecordAudience(signing.AudiencePrefix, digest) + "\n",
	} {
		if !strings.Contains(string(doc), line) {
			t.Errorf("expected docs/record.md to hold the line %q", line)
		}
	}
	for name, want := range map[string]Predicate{
		"statement.json": testPredicate(), "statement-v2.json": testReceiptPredicate(),
	} {
		stored, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := Encode(stored, "a.b.c")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := got.Record.Predicate
		diff := cmp.Diff(want.Receipt, p.Receipt)
		if diff != "" || p.Basis != want.Basis || !slices.Equal(p.Attempts, want.Attempts) {
			t.Errorf("%s: basis %q, attempts %+v, receipt (-want +got):\n%s", name, p.Basis, p.Attempts, diff)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
