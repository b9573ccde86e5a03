// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// SPIREOptions choose how SPIRE runs.
type SPIREOptions struct {
	// Config is one of spire.Configs. Empty means spire.Plain.
	Config string
	// ControllerManager also runs spire-controller-manager.
	ControllerManager bool
	// KeyType is one of spire.KeyTypes. Empty means the first.
	KeyType string
}

func (o SPIREOptions) settings() spire.Settings {
	return spire.Settings{
		Config: cmp.Or(o.Config, spire.Plain), KeyType: cmp.Or(o.KeyType, spire.KeyTypes()[0]),
		ControllerManager: o.ControllerManager,
	}
}

// spireConfigAnnotation on the server's StatefulSet has the configuration.
const spireConfigAnnotation = "lab.tekton-sign.dev/config"

// AddSPIRE gives a running lab a SPIRE with the add-on's admin entries, and returns when it serves. SPIRE keeps what it
// has where it runs already; with another configuration it has to be removed first.
func (l *Lab) AddSPIRE(ctx context.Context, options SPIREOptions) (*spire.Deployment, error) {
	settings := options.settings()
	if err := settings.Check(); err != nil {
		return nil, err
	}
	if _, err := l.init(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	if err := l.checkSPIREConfig(ctx, settings.Config); err != nil {
		return nil, err
	}
	if err := l.loadSPIRE(ctx, &settings); err != nil {
		return nil, err
	}
	d := spire.NewDeployment(l.kubectl, l.layout().Address, settings.Config)
	return d, l.progress.run("spire "+settings.Config, func() error { return l.startSPIRE(ctx, d, settings) })
}

// SPIRE is the one that runs already.
func (l *Lab) SPIRE(ctx context.Context) (*spire.Deployment, error) {
	config, err := l.spireConfig(ctx)
	if err != nil {
		return nil, err
	}
	if config == "" {
		return nil, errors.New("the lab has no SPIRE: run `bin/lab add spire`")
	}
	return spire.NewDeployment(l.kubectl, l.layout().Address, config), nil
}

// spireConfig is the configuration of the SPIRE that runs, or nothing.
func (l *Lab) spireConfig(ctx context.Context) (string, error) {
	client, err := l.client()
	if err != nil {
		return "", err
	}
	server, err := client.AppsV1().StatefulSets(spire.Namespace).Get(ctx, "spire-server", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return server.Annotations[spireConfigAnnotation], nil
}

func (l *Lab) checkSPIREConfig(ctx context.Context, config string) error {
	running, err := l.spireConfig(ctx)
	if err != nil {
		return err
	}
	if running != "" && running != config {
		return fmt.Errorf("SPIRE runs with the configuration %s: run `bin/lab remove spire` before you add it with %s",
			running, config)
	}
	return nil
}

// spireData is spire.DataFolder as this machine sees it.
func (l *Lab) spireData() string { return filepath.Join(l.folders.state, spire.DataFolder) }

// startSPIRE starts the servers first: an agent needs the bundle that they publish.
func (l *Lab) startSPIRE(ctx context.Context, d *spire.Deployment, settings spire.Settings) error {
	if settings.ControllerManager {
		if err := l.applyCRDs(ctx); err != nil {
			return err
		}
	}
	objects, err := spire.ServerManifests(settings)
	if err != nil {
		return err
	}
	if err := l.apply(ctx, objects); err != nil {
		return err
	}
	if err := awaitServers(ctx, d); err != nil {
		return err
	}
	for _, entry := range spire.AdminEntries() {
		if _, err := d.Server.CreateEntry(ctx, entry); err != nil {
			return err
		}
	}
	objects, err = spire.NodeManifests(settings)
	if err != nil {
		return err
	}
	if err := l.apply(ctx, objects); err != nil {
		return err
	}
	return errors.Join(d.Agent.Await(ctx), d.CSIDriver.Await(ctx), l.awaitCSIDriver(ctx))
}

func awaitServers(ctx context.Context, d *spire.Deployment) error {
	if err := d.Server.Await(ctx); err != nil {
		return err
	}
	if d.Foreign != nil {
		if err := d.Foreign.Await(ctx); err != nil {
			return err
		}
		if err := errors.Join(d.Server.Trust(ctx, d.Foreign), d.Foreign.Trust(ctx, d.Server)); err != nil {
			return err
		}
	}
	return poll(ctx, "SPIRE to publish its bundle", func(ctx context.Context) error {
		_, err := d.Server.PublishedBundle(ctx)
		return err
	})
}

// awaitCSIDriver returns when the kubelet knows the driver.
func (l *Lab) awaitCSIDriver(ctx context.Context) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	return poll(ctx, "the kubelet to know the driver "+spire.Driver, func(ctx context.Context) error {
		node, err := client.StorageV1().CSINodes().Get(ctx, l.layout().Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, driver := range node.Spec.Drivers {
			if driver.Name == spire.Driver {
				return nil
			}
		}
		return fmt.Errorf("CSINode %s does not list it", node.Name)
	})
}

// poll tries until something works, for a minute at most.
func poll(ctx context.Context, what string, try func(context.Context) error) error {
	var last error
	ready := func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	}
	if err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, ready); err != nil {
		return fmt.Errorf("wait for %s: %w: %w", what, err, last)
	}
	return nil
}

func (l *Lab) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	return tekton.Apply(ctx, config, objects)
}

func (l *Lab) crds(ctx context.Context) ([]*unstructured.Unstructured, error) {
	binary := toolchain.SPIREControllerManager()
	folder, err := l.builder.ModuleDir(ctx, binary.Tools, binary.Module)
	if err != nil {
		return nil, err
	}
	return spire.CRDs(os.DirFS(folder))
}

func (l *Lab) applyCRDs(ctx context.Context) error {
	objects, err := l.crds(ctx)
	if err != nil {
		return err
	}
	return l.apply(ctx, objects)
}

// kubectl runs kubectl as the cluster's administrator.
func (l *Lab) kubectl(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, filepath.Join(l.BinFolder(), "kubectl"),
		append([]string{"--kubeconfig", l.Kubeconfig()}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, lastBytes(stderr.Bytes(), 2000))
	}
	return stdout.Bytes(), nil
}
