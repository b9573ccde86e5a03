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
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/pki"
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

// loadSPIRE builds what was not built before, and gives the node the images.
func (l *Lab) loadSPIRE(ctx context.Context, settings *spire.Settings) error {
	if err := l.installPackages(ctx, missingOf(compilerPackages())); err != nil {
		return err
	}
	images := []spireImage{
		{toolchain.SPIREServer(), "/opt/spire/bin/spire-server", &settings.Images.Server},
		{toolchain.SPIREAgent(), spire.AgentPath, &settings.Images.Agent},
		{toolchain.SPIFFECSIDriver(), "/spiffe-csi-driver", &settings.Images.CSIDriver},
	}
	if settings.ControllerManager {
		images = append(images, spireImage{
			toolchain.SPIREControllerManager(), "/spire-controller-manager", &settings.Images.ControllerManager,
		})
	}
	for _, i := range images {
		if err := l.loadSPIREImage(ctx, i); err != nil {
			return err
		}
	}
	err := l.loadRegistrar(ctx, &settings.Images.Registrar)
	if err == nil && settings.Config == spire.Upstream {
		settings.Authority, err = l.upstreamAuthority()
	}
	return err
}

// spireImage is a binary, its path in its image, and where to put the image's reference.
type spireImage struct {
	binary    toolchain.Binary
	inside    string
	reference *string
}

func (l *Lab) loadSPIREImage(ctx context.Context, i spireImage) error {
	path, err := l.build(ctx, i.binary)
	if err != nil {
		return fmt.Errorf("build %s: %w", i.binary.Name, err)
	}
	version, err := l.builder.ModuleVersion(ctx, i.binary.Tools, i.binary.Module)
	if err != nil {
		return err
	}
	*i.reference = spireReference(i.binary.Name, version)
	return l.importSPIRE(ctx, *i.reference, i.inside, path)
}

// loadRegistrar builds the lab's own program that announces the CSI driver to the kubelet.
func (l *Lab) loadRegistrar(ctx context.Context, reference *string) error {
	path := filepath.Join(l.folders.cache, "bin", "csi-registrar-"+l.name)
	if err := toolchain.Compile(ctx, filepath.Join(l.builder.Tools, "csiregistrar"), ".", path); err != nil {
		return fmt.Errorf("build csi-registrar: %w", err)
	}
	*reference = spireReference("csi-registrar", "1")
	return l.importSPIRE(ctx, *reference, "/csi-registrar", path)
}

func spireReference(name, version string) string { return "localhost/spire/" + name + ":" + version }

func (l *Lab) importSPIRE(ctx context.Context, reference, inside, path string) error {
	packed := archive{[]string{reference}, Image{
		Files: map[string]string{inside: path}, Texts: map[string]string{"/etc/passwd": passwd, "/etc/group": group},
		Folders: []string{"/tmp"}, Entrypoint: []string{inside},
	}}
	file, err := packed.pack(l.folders.cache)
	if err != nil {
		return err
	}
	return l.importArchive(ctx, file)
}

// upstreamAuthority is made once, and goes with SPIRE's data.
func (l *Lab) upstreamAuthority() (spire.Authority, error) {
	folder := filepath.Join(l.spireData(), "upstream")
	names := []string{"tls.crt", "tls.key", "ca.crt"}
	if _, err := os.Stat(filepath.Join(folder, names[0])); err != nil {
		if err := writeUpstreamAuthority(folder, names); err != nil {
			return spire.Authority{}, err
		}
	}
	var content [3][]byte
	for i, name := range names {
		var err error
		if content[i], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			return spire.Authority{}, err
		}
	}
	return spire.Authority{Certificate: content[0], Key: content[1], Root: content[2]}, nil
}

func writeUpstreamAuthority(folder string, names []string) error {
	root, err := pki.NewAuthority("root of the lab", time.Now())
	if err != nil {
		return err
	}
	authority, err := root.Intermediate("authority above SPIRE")
	if err != nil {
		return err
	}
	key, err := authority.Key()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// The certificate comes last: where it is, the others are.
	content := [][]byte{authority.Certificate(), key, root.Certificate()}
	for _, i := range []int{2, 1, 0} {
		if err := os.WriteFile(filepath.Join(folder, names[i]), content[i], 0o600); err != nil {
			return err
		}
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
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
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

// removeSPIRE refuses while the driver's volumes are in use: nobody could unmount them any more.
func (l *Lab) removeSPIRE(ctx context.Context) error {
	if _, err := l.init(); err != nil {
		return err
	}
	if err := l.checkVolumes(ctx); err != nil {
		return err
	}
	settings := spire.Settings{Config: spire.Federated, ControllerManager: true}
	servers, err := spire.ServerManifests(settings)
	if err != nil {
		return err
	}
	nodes, err := spire.NodeManifests(settings)
	if err != nil {
		return err
	}
	crds, err := l.crds(ctx)
	if err != nil {
		return err
	}
	if err := l.delete(ctx, slices.Concat(nodes, reversed(servers), crds)); err != nil {
		return err
	}
	return os.RemoveAll(l.spireData())
}

func reversed(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	slices.Reverse(objects)
	return objects
}

func (l *Lab) delete(ctx context.Context, objects []*unstructured.Unstructured) error {
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	return tekton.Delete(ctx, config, objects)
}

func (l *Lab) checkVolumes(ctx context.Context) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed && usesSPIRE(pod) {
			return fmt.Errorf("pod %s in namespace %s still has a volume of %s: delete it before SPIRE",
				pod.Name, pod.Namespace, spire.Driver)
		}
	}
	return nil
}

func usesSPIRE(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.CSI != nil && v.CSI.Driver == spire.Driver
	})
}
