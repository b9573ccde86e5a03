// SPDX-License-Identifier: Apache-2.0

// Package binaries_test keeps what the three binaries link, and how large they are, within what docs/performance.md
// promises.
package binaries_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the lists of modules in testdata")

// root is the folder of the module.
const root = "../.."

// binary is a command, and its most bytes as make build leaves it for linux/amd64.
type binary struct {
	command, file string
	most          int64
}

func binaries() []binary {
	return []binary{
		{"kubectl-tekton-sign", "kubectl-tekton_sign", 60_000_000},
		{"controller", "controller", 62_000_000},
		{"signer", "signer", 16_000_000},
	}
}

// forbidden are the beginnings of the paths of packages that no binary may link: SDKs of cloud providers, what
// looks up their credentials, registry clients, and the code of Tekton that needs them.
func forbidden() []string {
	return []string{
		"cloud.google.com/", "google.golang.org/api/", "github.com/GoogleCloudPlatform/",
		"github.com/Azure/azure-sdk-for-go/", "github.com/Azure/go-autorest", "github.com/AzureAD/",
		"github.com/gaganhr94/docker-credential-acr",
		"github.com/aws/", "github.com/awslabs/",
		"github.com/aliyun/", "github.com/oracle/oci-go-sdk", "github.com/IBM/", "github.com/hashicorp/vault",
		"github.com/docker/cli", "github.com/docker/docker-credential-helpers", "github.com/google/go-containerregistry/",
		"github.com/tektoncd/pipeline/pkg/pod", "github.com/tekton-sign/kubectl-tekton-sign/internal/tekton/tektontest",
	}
}

// forbiddenInSigner are the more beginnings that the signer, which runs in every step, may not link.
func forbiddenInSigner() []string {
	return append(forbidden(), "k8s.io/client-go", "k8s.io/api/", "knative.dev/", "github.com/tektoncd/pipeline/pkg/apis/")
}

// run runs a program in the module's folder, as CI does.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Stderr = root, os.Stderr
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// TestPackages looks for packages that no binary may link.
func TestPackages(t *testing.T) {
	for _, b := range binaries() {
		prefixes := forbidden()
		if b.command == "signer" {
			prefixes = forbiddenInSigner()
		}
		packages := strings.Fields(run(t, "go", "list", "-deps", "./cmd/"+b.command))
		if len(packages) < 50 {
			t.Errorf("%s links %d packages only: %q", b.command, len(packages), packages)
		}
		for _, p := range packages {
			if i := slices.IndexFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(p, prefix) }); i >= 0 {
				t.Errorf("%s links %s, and may link nothing of %s: go list -deps and go mod why -m show how it came in", b.command,
					p, prefixes[i])
			}
		}
	}
}

// TestModules compares the modules that a binary links with the reviewed list.
func TestModules(t *testing.T) {
	for _, b := range binaries() {
		modules := strings.Fields(run(t, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/"+b.command))
		slices.Sort(modules)
		got := strings.Join(slices.Compact(modules), "\n") + "\n"
		golden := filepath.Join("testdata", b.command+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s links other modules (-want +got), review them and run go test ./test/binaries -update:\n%s", b.command,
				diff)
		}
	}
}

// TestSize builds the binaries as they are released.
func TestSize(t *testing.T) {
	dir := t.TempDir()
	run(t, "make", "build", "BIN="+dir)
	for _, b := range binaries() {
		info, err := os.Stat(filepath.Join(dir, b.file))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d bytes", b.file, info.Size())
		if info.Size() > b.most {
			t.Errorf("%s has %d bytes, and may have %d: go tool nm -size -sort size of a build without -s shows what takes them",
				b.file, info.Size(), b.most)
		}
	}
}
