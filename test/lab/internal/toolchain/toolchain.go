// SPDX-License-Identifier: Apache-2.0

// Package toolchain builds the lab's components from their Go modules into a cache.
//
// Each folder under test/lab/tools is a module of its own that pins, with go.mod and go.sum, what its components are
// built from. A binary is cached under a key made of those two files, the Go release and the flags, so that it is
// built again exactly when one of them changed.
package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Binary is one executable to build.
type Binary struct {
	// Name is the executable's name.
	Name string
	// Tools is the folder under test/lab/tools with the go.mod to build from.
	Tools string
	// Module and Package are import paths; the version shown and stamped is the module's.
	Module  string
	Package string
	// Stamps are package variables that get the module's version, as the linker's -X names them.
	Stamps []string
	// C links C code, too: into a binary that is static all the same.
	C bool
}

// Kubernetes are the components of the control plane and the node, and kubectl.
func Kubernetes() []Binary {
	var all []Binary
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"} {
		all = append(all, Binary{
			Name: name, Tools: "kubernetes", Module: "k8s.io/kubernetes", Package: "k8s.io/kubernetes/cmd/" + name,
			Stamps: []string{
				"k8s.io/component-base/version.gitVersion",
				"k8s.io/client-go/pkg/version.gitVersion",
			},
		})
	}
	return all
}

// Etcd is the database.
func Etcd() []Binary {
	const module = "go.etcd.io/etcd/server/v3"
	return []Binary{{Name: "etcd", Tools: "etcd", Module: module, Package: module}}
}

// Containerd is the container runtime with its shim and its client.
func Containerd() []Binary {
	return commands("containerd", "github.com/containerd/containerd/v2",
		"containerd", "containerd-shim-runc-v2", "ctr")
}

// Tekton are the commands that Tekton's release makes images of, but for those of events and resolvers.
func Tekton() []Binary {
	return commands("tekton", "github.com/tektoncd/pipeline",
		"controller", "webhook", "entrypoint", "nop", "sidecarlogresults", "workingdirinit")
}

// Chains is the controller of Tekton Chains.
func Chains() Binary { return commands("chains", "github.com/tektoncd/chains", "controller")[0] }

// SPIREAgent is SPIRE's agent, and the client of its Workload API. Linking as the server does, it is built with what
// was compiled for the server.
func SPIREAgent() Binary { return spireCommand("spire-agent") }

// SPIREServer is SPIRE's server. Its embedded database is in C.
func SPIREServer() Binary { return spireCommand("spire-server") }

func spireCommand(name string) Binary {
	binary := commands("spire", "github.com/spiffe/spire", name)[0]
	binary.C = true
	return binary
}

// SPIFFECSIDriver mounts the Workload API's socket into pods.
func SPIFFECSIDriver() Binary {
	return commands("spiffecsi", "github.com/spiffe/spiffe-csi", "spiffe-csi-driver")[0]
}

// SPIREControllerManager makes entries of ClusterSPIFFEIDs.
func SPIREControllerManager() Binary {
	const module = "github.com/spiffe/spire-controller-manager"
	return Binary{Name: "spire-controller-manager", Tools: "spirecm", Module: module, Package: module + "/cmd"}
}

// Clients are programs that people use beside the plugin: kubectl, tkn, krew and the checker of krew's manifests.
func Clients() []Binary {
	clients := commands("tkn", "github.com/tektoncd/cli", "tkn")
	clients = append(clients, commands("krew", "sigs.k8s.io/krew", "krew", "validate-krew-manifest")...)
	for _, binary := range Kubernetes() {
		if binary.Name == "kubectl" {
			clients = append(clients, binary)
		}
	}
	return clients
}

func commands(tools, module string, names ...string) []Binary {
	var all []Binary
	for _, name := range names {
		all = append(all, Binary{Name: name, Tools: tools, Module: module, Package: module + "/cmd/" + name})
	}
	return all
}

// Builder builds binaries into Cache, from the modules under Tools.
type Builder struct {
	Tools string // the folder test/lab/tools
	Cache string // a folder outside the checkout
}

// Build returns the path of the binary, building it first when the cache lacks it. started is called before a build
// that takes time, with the module's version.
func (b Builder) Build(ctx context.Context, binary Binary, started func(version string)) (path string, err error) {
	folder := filepath.Join(b.Tools, binary.Tools)
	path, version, flags, err := b.locate(ctx, binary)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	started(version)
	return path, compile(ctx, folder, binary.C, flags, binary.Package, path)
}

// ModuleDir returns where a module's files are, downloading them when needed.
func (b Builder) ModuleDir(ctx context.Context, tools, module string) (string, error) {
	folder := filepath.Join(b.Tools, tools)
	if _, err := goOutput(ctx, folder, "mod", "download", module); err != nil {
		return "", err
	}
	return goOutput(ctx, folder, "list", "-m", "-f", "{{.Dir}}", module)
}

// ModuleVersion returns the pinned version of a module.
func (b Builder) ModuleVersion(ctx context.Context, tools, module string) (string, error) {
	return goOutput(ctx, filepath.Join(b.Tools, tools), "list", "-m", "-f", "{{.Version}}", module)
}

// Compile builds a package of the module in folder to path, every time: Go's own cache makes that quick.
func Compile(ctx context.Context, folder, pkg, path string) error {
	return compile(ctx, folder, false, buildFlags(Binary{}, ""), pkg, path)
}

func buildFlags(binary Binary, version string) []string {
	link := []string{"-s", "-w"}
	for _, variable := range binary.Stamps {
		link = append(link, "-X", variable+"="+version)
	}
	if len(binary.Stamps) > 0 {
		major, minor := majorMinor(version)
		for _, variable := range binary.Stamps {
			pkg := strings.TrimSuffix(variable, ".gitVersion")
			link = append(link, "-X", pkg+".gitMajor="+major, "-X", pkg+".gitMinor="+minor,
				"-X", pkg+".gitTreeState=clean")
		}
	}
	flags := []string{"-trimpath", "-buildvcs=false"}
	if binary.C {
		// What the C library would load at run time is left out: resolvers, and extensions of the database.
		flags = append(flags, "-tags", "netgo,osusergo,sqlite_omit_load_extension")
		link = append(link, "-linkmode=external", "-extldflags=-static")
	}
	return append(flags, "-ldflags", strings.Join(link, " "))
}

// majorMinor splits a version such as v1.35.4.
func majorMinor(version string) (major, minor string) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return "", ""
	}
	return parts[0], parts[1]
}

func (b Builder) key(ctx context.Context, folder string, parts []string) (string, error) {
	release, err := goOutput(ctx, folder, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, part := range append(parts, release) {
		_, _ = fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(hash, "%d:%s", len(data), data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// compile builds to a temporary name and renames, so that an interrupted build is never taken for a finished one.
func compile(ctx context.Context, folder string, c bool, flags []string, pkg, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	args := append(append([]string{"build"}, flags...), "-o", temporary, pkg)
	if _, err := runGo(ctx, folder, c, args...); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return os.Rename(temporary, path)
}

func goOutput(ctx context.Context, folder string, args ...string) (string, error) {
	return runGo(ctx, folder, false, args...)
}

func runGo(ctx context.Context, folder string, c bool, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = folder
	// CGO off makes static binaries; GOFLAGS and GOWORK of the user must not change what is built.
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if c {
		command.Env = append(command.Env, "CGO_ENABLED=1")
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("go %s in %s: %w: %s", args[0], folder, err, lastLines(stderr.String(), 8))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
