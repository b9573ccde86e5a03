// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/node"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// startTimeout bounds everything after the builds.
const startTimeout = 5 * time.Minute

// Up brings the lab up: a ready node, and a Tekton whose webhook answers. When it is up already, nothing happens;
// what an earlier crash left is cleaned up first. When it fails, nothing is left running, and the logs stay.
func (l *Lab) Up(ctx context.Context) error {
	if err := Check(); err != nil {
		return err
	}
	lock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if status, err := l.Status(ctx); err == nil && status.Up {
		l.progress.say("the lab %s is already up", l.name)
		return l.heal(ctx, status)
	}
	if err := l.remove(); err != nil {
		return err
	}
	built, err := l.prepare(ctx)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = l.boot(bounded, built)
	if err == nil {
		return os.WriteFile(l.readyFile(), nil, 0o600)
	}
	if ctx.Err() != nil { // the failure only followed from that
		err = fmt.Errorf("the lab %s was not brought up: %w", l.name, context.Cause(ctx))
	}
	// The logs stay, because the error refers to them.
	return errors.Join(err, sandbox.Stop(l.folders.state))
}

// Down ends the lab and removes its files. When nothing is there, nothing happens.
func (l *Lab) Down(ctx context.Context) error {
	lock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	return l.remove()
}

// heal starts components that do not run, because a test stopped them or gave them a wrong flag.
func (l *Lab) heal(ctx context.Context, status Status) error {
	for _, component := range status.Components {
		if component.PID != 0 {
			continue
		}
		err := l.progress.run(component.Name, func() error { return l.Restart(ctx, component.Name) })
		if err != nil {
			return err
		}
	}
	return l.await(ctx, APIServer)
}

func (l *Lab) remove() error {
	if err := sandbox.Stop(l.folders.state); err != nil {
		return fmt.Errorf("stop the lab %s: %w", l.name, err)
	}
	return os.RemoveAll(l.folders.state)
}

func (l *Lab) readyFile() string { return filepath.Join(l.folders.state, "ready") }

// boot starts everything. The node's half and the control plane's half do not wait for each other until the end.
func (l *Lab) boot(ctx context.Context, p parts) error {
	if err := l.writeState(ctx, p); err != nil {
		return err
	}
	if err := l.progress.run("namespaces", func() error { return l.startSandbox(ctx) }); err != nil {
		return err
	}
	runtime, runtimeContext := errgroup.WithContext(ctx)
	runtime.Go(func() error { return l.startRuntime(runtimeContext, p.archives) })
	err := l.startControlPlane(ctx)
	if err == nil {
		err = l.progress.run("tekton's manifests", func() error { return l.applyTekton(ctx, p.tekton) })
	}
	if err := errors.Join(err, runtime.Wait()); err != nil {
		return err
	}
	if err := l.launch(ctx, Kubelet); err != nil {
		return err
	}
	for _, component := range []string{ControllerManager, Scheduler, Kubelet} {
		if err := l.progress.run(component, func() error { return l.await(ctx, component) }); err != nil {
			return err
		}
	}
	return l.progress.run("tekton "+p.tekton.Version, func() error { return l.awaitTekton(ctx) })
}

// writeState makes the state folder with everything that can be made before a process runs.
func (l *Lab) writeState(ctx context.Context, p parts) error {
	config, err := l.sandboxConfig()
	if err != nil {
		return err
	}
	for _, folder := range []string{"bin", "logs", "var/lib", "var/log"} {
		if err := os.MkdirAll(filepath.Join(l.folders.state, folder), 0o750); err != nil {
			return err
		}
	}
	if err := config.Save(); err != nil {
		return err
	}
	layout := l.layout()
	for name, path := range p.binaries {
		if err := os.Symlink(path, layout.Bin(name)); err != nil {
			return err
		}
	}
	if err := toolchain.Compile(ctx, l.project, "./test/lab/cmd/lab-init", layout.Bin("lab-init")); err != nil {
		return err
	}
	return errors.Join(node.WriteFiles(layout), node.WriteCredentials(layout, time.Now()))
}

func (l *Lab) sandboxConfig() (sandbox.Config, error) {
	addresses, err := hostPrefixes()
	if err != nil {
		return sandbox.Config{}, err
	}
	link, err := choosePair(l.name, addresses)
	if err != nil {
		return sandbox.Config{}, err
	}
	state := l.folders.state
	return sandbox.Config{
		Hostname: nodeName(l.name), Cgroup: "tekton-sign-lab-" + l.name, State: state,
		HostInterface: hostInterface(l.name), HostAddress: link.host, NodeAddress: link.node,
		LoopbackAddresses: []netip.Prefix{
			netip.PrefixFrom(node.KubernetesService, 32), netip.PrefixFrom(node.DNSService, 32),
		},
		Binds: map[string]string{
			"/var/lib":   filepath.Join(state, "var/lib"),
			"/var/log":   filepath.Join(state, "var/log"),
			"/etc/hosts": filepath.Join(state, "etc/hosts"),
		},
		// The values are the kubelet's own.
		Tunables: map[string]string{
			"/proc/sys/vm/overcommit_memory":      "1",
			"/proc/sys/vm/panic_on_oom":           "0",
			"/proc/sys/kernel/panic":              "10",
			"/proc/sys/kernel/panic_on_oops":      "1",
			"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
			"/proc/sys/kernel/keys/root_maxbytes": "25000000",
		},
	}, nil
}

func hostPrefixes() ([]netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var all []netip.Prefix
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			all = append(all, prefix)
		}
	}
	return all, nil
}

func (l *Lab) startSandbox(ctx context.Context) error {
	config, err := sandbox.LoadConfig(sandbox.ConfigFile(l.folders.state))
	if err != nil {
		return err
	}
	if _, err := sandbox.Launch(ctx, config, l.layout().Bin("lab-init")); err != nil {
		return l.withLog(err, "supervisor")
	}
	return nil
}

func (l *Lab) startRuntime(ctx context.Context, archives []string) error {
	if err := l.progress.run(Containerd, func() error { return l.Start(ctx, Containerd) }); err != nil {
		return err
	}
	return l.progress.run("import of images", func() error {
		imports, ctx := errgroup.WithContext(ctx)
		imports.SetLimit(2)
		for _, file := range archives {
			imports.Go(func() error { return l.importArchive(ctx, file) })
		}
		return imports.Wait()
	})
}

func (l *Lab) startControlPlane(ctx context.Context) error {
	for _, component := range []string{Etcd, APIServer} {
		if err := l.progress.run(component, func() error { return l.Start(ctx, component) }); err != nil {
			return err
		}
	}
	// Nothing waits for these two until there is a node.
	return errors.Join(l.launch(ctx, ControllerManager), l.launch(ctx, Scheduler))
}

func (l *Lab) applyTekton(ctx context.Context, release tekton.Release) error {
	folder, err := l.builder.ModuleDir(ctx, "tekton", tekton.Module)
	if err != nil {
		return err
	}
	objects, err := tekton.Manifests(os.DirFS(folder), release)
	if err != nil {
		return err
	}
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	return tekton.Apply(ctx, config, objects)
}

func (l *Lab) awaitTekton(ctx context.Context) error {
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	err = tekton.AwaitDeployments(ctx, config, tekton.Namespace, "tekton-pipelines-webhook", "tekton-pipelines-controller")
	if err == nil {
		err = tekton.AwaitWebhook(ctx, config)
	}
	if err != nil {
		return l.withLog(err, Kubelet)
	}
	return nil
}
