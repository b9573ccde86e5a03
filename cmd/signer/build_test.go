// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxBinary is the maximum size of the signer in bytes, because it is copied into pods.
const maxBinary = 16 << 20

func TestBinaryIsStaticAndSmall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "signer")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxBinary {
		t.Errorf("the signer has %d bytes, at most %d are allowed", info.Size(), maxBinary)
	}
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, program := range binary.Progs {
		if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
			t.Errorf("the signer has a segment %v: it must run without any library", program.Type)
		}
	}
}

func TestImportsNoKubernetesClient(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, banned := range []string{"k8s.io/client-go", "k8s.io/api", "github.com/tektoncd/pipeline/pkg/apis",
			"github.com/tektoncd/pipeline/pkg/spire", "knative.dev"} {
			if p == banned || strings.HasPrefix(p, banned+"/") {
				t.Errorf("the signer imports %s", p)
			}
		}
	}
}
