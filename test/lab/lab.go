// SPDX-License-Identifier: Apache-2.0

// Package lab runs a real one-node Kubernetes with a stock Tekton Pipelines on this machine, for tests.
//
// The components are built from pinned Go modules and run, as they are, in namespaces of their own: nothing they do
// reaches beyond this machine, several labs run beside each other, and a lab that goes down leaves nothing behind.
// It needs Linux and root; [RequirementError] says what a machine lacks.
//
//	l, err := lab.Open(lab.Options{})
//	err = l.Up(ctx)             // harmless when it is up already
//	use(l.Kubeconfig())         // with kubectl, client-go, or the plugin
//	digest, err := l.LoadImage(ctx, "ghcr.io/tekton-sign/signer:dev", lab.Image{…})
//	err = l.Restart(ctx, lab.APIServer, "--service-account-key-file=/other.pub")
//	err = l.Down(ctx)
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/image"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/node"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// The components that can be stopped and started, in the order in which [Lab.Up] starts them.
const (
	Etcd              = node.Etcd
	Containerd        = node.Containerd
	APIServer         = node.APIServer
	ControllerManager = node.ControllerManager
	Scheduler         = node.Scheduler
	Kubelet           = node.Kubelet
)

// Options choose a lab.
type Options struct {
	// Name distinguishes labs. Empty means TEKTON_SIGN_LAB_NAME, or else "default".
	Name string
	// Progress gets lines for people. Nil discards them.
	Progress io.Writer
}

// Lab is one cluster, whether it is up or not.
type Lab struct {
	name     string
	folders  folders
	builder  toolchain.Builder
	project  string // the project's root folder, whose module this package is part of
	progress *progress
}

// Open returns the lab with a name. It starts nothing. The working directory must be inside the project.
func Open(options Options) (*Lab, error) {
	name := options.Name
	if name == "" {
		name = nameFromEnvironment()
	}
	places, err := chooseFolders(name, os.Getenv)
	if err != nil {
		return nil, err
	}
	project, err := projectRoot()
	if err != nil {
		return nil, err
	}
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	return &Lab{
		name: name, folders: places, project: project, progress: newProgress(options.Progress),
		builder: toolchain.Builder{Tools: filepath.Join(project, "test", "lab", "tools"), Cache: places.cache},
	}, nil
}

// projectRoot walks up from the working directory to the folder with the lab's tool modules.
func projectRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "test", "lab", "tools", "kubernetes", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s is not inside the project: run the lab from a checkout of it", start)
		}
	}
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.name }

// StateFolder holds everything of this lab; its folder logs has a file for each component.
func (l *Lab) StateFolder() string { return l.folders.state }

// Kubeconfig is the path of the file with which a cluster administrator reaches the lab.
func (l *Lab) Kubeconfig() string { return l.layout().Kubeconfig(node.Admin) }

// BinFolder has kubectl and the components' binaries.
func (l *Lab) BinFolder() string { return filepath.Join(l.folders.state, "bin") }

// RESTConfig is what [Lab.Kubeconfig] says, without client-side rate limits.
func (l *Lab) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the lab's kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// layout is only complete when the lab's sandbox was configured.
func (l *Lab) layout() node.Layout {
	layout := node.Layout{State: l.folders.state, Name: nodeName(l.name), CNIPlugins: cniPlugins()}
	if config, err := sandbox.LoadConfig(sandbox.ConfigFile(l.folders.state)); err == nil {
		layout.Address = config.NodeAddress.Addr()
	}
	return layout
}

func nodeName(lab string) string { return "lab-" + lab }

// Status is the state of a lab.
type Status struct {
	// Up is true when Up finished and the lab still runs.
	Up bool
	// Init is the process id of the lab's PID 1 on the host, 0 when nothing runs.
	Init       int
	Components []sandbox.ComponentStatus
}

// Status reports whether the lab runs, and the state of each component.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	pids, running := sandbox.Running(l.folders.state)
	if !running {
		return Status{}, nil
	}
	_, err := os.Stat(l.readyFile())
	status := Status{Init: pids.Init, Up: err == nil}
	status.Components, err = sandbox.NewClient(pids.Init).Status(ctx)
	return status, err
}

// errNotUp is the error of every method that needs a running lab.
var errNotUp = errors.New("the lab is not up: run `make lab-up`")

func (l *Lab) init() (int, error) {
	pids, running := sandbox.Running(l.folders.state)
	if !running {
		return 0, errNotUp
	}
	return pids.Init, nil
}

// stopGrace is how long a component may take to end before it is killed. Kube-apiserver would wait a minute for its
// watchers, and nothing in a lab is worth that.
const stopGrace = 2 * time.Second

// Stop ends a component, which stays down until [Lab.Start].
func (l *Lab) Stop(ctx context.Context, component string) error {
	if _, err := node.Args(l.layout(), component); err != nil {
		return err
	}
	pid, err := l.init()
	if err != nil {
		return err
	}
	return sandbox.NewClient(pid).Stop(ctx, component, stopGrace)
}

// Start starts a stopped component, with extra flags after its usual ones, and waits until it serves. Extra flags are
// forgotten by the next Start.
func (l *Lab) Start(ctx context.Context, component string, extra ...string) error {
	if err := l.launch(ctx, component, extra...); err != nil {
		return err
	}
	return l.await(ctx, component)
}

// Restart is Stop and Start.
func (l *Lab) Restart(ctx context.Context, component string, extra ...string) error {
	if err := l.Stop(ctx, component); err != nil {
		return err
	}
	return l.Start(ctx, component, extra...)
}

func (l *Lab) launch(ctx context.Context, component string, extra ...string) error {
	layout := l.layout()
	args, err := node.Args(layout, component, extra...)
	if err != nil {
		return err
	}
	pid, err := l.init()
	if err != nil {
		return err
	}
	return sandbox.NewClient(pid).Start(ctx, sandbox.Component{
		Name: component, Path: layout.Bin(component), Args: args,
		Env: []string{
			// containerd finds its shim here, and runc and the CNI plugins in the rest.
			"PATH=" + l.BinFolder() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root",
		},
	})
}

// Command prepares a command that runs inside the lab's namespaces: for debugging.
func (l *Lab) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	pid, err := l.init()
	if err != nil {
		return nil, err
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", name}
	command := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "PATH="+l.BinFolder()+":"+os.Getenv("PATH"))
	return command, nil
}

// LoadImage makes an image of local files and gives it to the node, under reference (REPOSITORY:TAG) and under the
// same repository with the image's digest, which it returns ("sha256:…"). Loading an image again replaces it.
func (l *Lab) LoadImage(ctx context.Context, reference string, spec Image) (digest string, err error) {
	built, err := image.Build(spec)
	if err != nil {
		return "", err
	}
	return l.load(ctx, reference, built)
}

// LoadLayout gives the node the image for this machine out of an OCI layout.
func (l *Lab) LoadLayout(ctx context.Context, reference, folder string) (digest string, err error) {
	built, err := image.FromLayout(folder)
	if err != nil {
		return "", err
	}
	return l.load(ctx, reference, built)
}

func (l *Lab) load(ctx context.Context, reference string, built v1.Image) (digest string, err error) {
	hash, err := built.Digest()
	if err != nil {
		return "", err
	}
	file := filepath.Join(l.folders.state, "load-"+hash.Hex[:16]+".tar")
	if err := writeArchive(file, built, []string{reference}); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file) }()
	return hash.String(), l.importArchive(ctx, file)
}

func (l *Lab) importArchive(ctx context.Context, file string) error {
	pid, err := l.init()
	if err != nil {
		return err
	}
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", pid)
	command := exec.CommandContext(ctx, l.layout().Bin("ctr"), "--address", socket, "--namespace", "k8s.io",
		"images", "import", file)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s into containerd: %w: %s", filepath.Base(file), err, lastBytes(out, 500))
	}
	return nil
}

func lastBytes(out []byte, n int) []byte { return out[max(0, len(out)-n):] }

// lock keeps two ups or downs of the same lab apart. The file is left in place: removing it would let a third one
// lock another file of the same name.
func (l *Lab) lock(ctx context.Context) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(l.folders.state), 0o750); err != nil {
		return nil, err
	}
	return sandbox.Lock(ctx, l.folders.state+".lock")
}
