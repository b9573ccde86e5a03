// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

// Cluster is what the checkers share: clients, and what most of them need of the cluster, read once by [Read]. What
// could not be read has an error beside it.
type Cluster struct {
	Clients enable.Clients
	Options Options

	Kubernetes string // the version of the API server; empty: the user may not ask for it
	Tekton     Tekton
	Settings   Settings
	AddOn      AddOn
	Namespaces Namespaces
	Verdicts   Verdicts

	keys *readHistory // the trust history; nil: not read yet
}

// Tekton is the installation of Tekton that the add-on works with.
type Tekton struct {
	Namespace  string            // where the settings are
	Searched   string            // the namespace in which Tekton was searched for; empty: all
	Controller enable.Controller // empty if Err is set
	Err        error
}

// Settings are the settings in ConfigMap config-signing, the defaults where they cannot be read or used.
type Settings struct {
	settings.Settings
	ConfigMap *corev1.ConfigMap // nil: there is none, or ReadErr is set
	ReadErr   error
	UseErr    error  // why the add-on cannot use the ConfigMap
	Missing   string // why the backend has only defaults, if its own ConfigMap is missing
}

// AddOn is the Deployment of the webhooks.
type AddOn struct {
	Deployment *appsv1.Deployment // nil: there is none, or Err is set
	Err        error
	Registry   string // where its images are from
	Version    string // the tag of the controller's image
}

// Namespaces are the namespaces that are not being deleted. Where Err is set the list may be incomplete.
type Namespaces struct {
	List []Namespace
	Err  error
}

// Namespace is a namespace of the cluster.
type Namespace struct {
	Name    string
	Labels  map[string]string
	InScope bool
	Young   bool // created just now: the add-on may not have seen it yet
}

// Read reads what most checkers need. An error means that the API server did not answer at all.
func Read(ctx context.Context, clients enable.Clients, o Options) (*Cluster, error) {
	version, err := clients.Kube.Discovery().ServerVersion()
	if err != nil && !enable.IsForbidden(err) {
		return nil, fmt.Errorf("asking the API server for its version: %w", err)
	}
	c := &Cluster{Clients: clients, Options: o}
	if version != nil {
		c.Kubernetes = version.GitVersion
	}
	c.Tekton = readTekton(ctx, clients, o.TektonNamespace)
	c.Settings = readSettings(ctx, clients, c.Tekton.Namespace)
	c.AddOn = readAddOn(ctx, clients)
	c.Namespaces = c.readNamespaces(ctx)
	if !c.Off() && o.Verdicts > 0 {
		c.Verdicts = c.readVerdicts(ctx)
	}
	return c, nil
}

// With returns the cluster as it would be with other settings.
func (c *Cluster) With(s settings.Settings) *Cluster {
	with := *c
	with.Settings = Settings{Settings: s, ConfigMap: cmp.Or(c.Settings.ConfigMap, &corev1.ConfigMap{})}
	inScope := s.Scope.Matcher(settings.Reserved(c.Tekton.Namespace))
	with.Namespaces.List = slices.Clone(c.Namespaces.List)
	for i, ns := range with.Namespaces.List {
		with.Namespaces.List[i].InScope = inScope(ns.Labels)
	}
	return &with
}

// Known reports whether the settings are known. Without a ConfigMap signing is off, unless there is an add-on: then
// somebody has deleted the ConfigMap.
func (c *Cluster) Known() bool {
	s := c.Settings
	return s.ReadErr == nil && s.UseErr == nil && (s.ConfigMap != nil || c.AddOn.Deployment == nil)
}

// Off reports whether the settings turn signing off.
func (c *Cluster) Off() bool { return c.Known() && c.Settings.Backend == signing.BackendNone }

// Listed reports whether all namespaces are known.
func (c *Cluster) Listed() bool { return c.Namespaces.Err == nil }

// InScope reports whether a namespace is in scope, and true where that is not known.
func (c *Cluster) InScope(namespace string) bool {
	if !c.Known() || !c.Listed() {
		return true
	}
	for _, ns := range c.Namespaces.List {
		if ns.Name == namespace {
			return ns.InScope
		}
	}
	return false
}

// sameVersion reports whether the add-on is of the plugin's version. Only then are their manifests the same.
func (c *Cluster) sameVersion() bool { return c.AddOn.Version == c.Options.Version }

// enableCommand returns the command that makes the installation as its settings ask for it.
func (c *Cluster) enableCommand() string {
	if !c.Known() || c.Settings.Backend == signing.BackendNone {
		return c.Options.Program + " enable BACKEND, with the flags of your installation"
	}
	return c.Options.Program + " " + enable.Command(c.Settings.Settings, c.AddOn.Registry)
}

// readTekton finds Tekton. Where the user may not search the whole cluster, its namespace is taken to be that of
// Tekton's releases.
func readTekton(ctx context.Context, clients enable.Clients, namespace string) Tekton {
	if namespace == "" {
		// An installation may outlive its Tekton, and there may be several of those.
		namespace, _ = enable.FindTektonNamespace(ctx, clients)
	}
	controller, err := enable.FindTekton(ctx, clients.Kube, namespace)
	return Tekton{
		Namespace: cmp.Or(controller.Namespace, namespace, enable.StockNamespace), Searched: namespace,
		Controller: controller, Err: err,
	}
}

func readSettings(ctx context.Context, clients enable.Clients, namespace string) Settings {
	read := Settings{Settings: settings.Default()}
	if read.ConfigMap, read.ReadErr = enable.LiveSettings(ctx, clients.Kube, namespace); read.ConfigMap == nil {
		return read
	}
	s, err := settings.Parse(read.ConfigMap.Data)
	if err == nil {
		s, read.Missing, err = enable.WithConfigMap(ctx, clients.Kube, namespace, s)
	}
	if err == nil {
		err = backends.Check(s)
	}
	if read.UseErr = err; err == nil {
		read.Settings = s
	}
	return read
}

// readAddOn reads the Deployment, and takes from its images where they are from and which version they are.
func readAddOn(ctx context.Context, clients enable.Clients) AddOn {
	d, err := clients.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Controller, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return AddOn{}
	case err != nil:
		return AddOn{Err: err}
	}
	addOn := AddOn{Deployment: d}
	addOn.Registry, addOn.Version = splitImage(addOn.image(), "/controller")
	return addOn
}

// image returns the image of the controller.
func (a AddOn) image() string {
	if containers := a.Deployment.Spec.Template.Spec.Containers; len(containers) > 0 {
		return containers[0].Image
	}
	return ""
}

// env returns the value of an environment variable of the controller, empty if it has none or there is no add-on.
func (a AddOn) env(name string) string {
	if a.Deployment == nil || len(a.Deployment.Spec.Template.Spec.Containers) == 0 {
		return ""
	}
	for _, e := range a.Deployment.Spec.Template.Spec.Containers[0].Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// splitImage splits REGISTRY/name:TAG, also with a digest after the tag.
func splitImage(image, name string) (registry, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image, tag = image[:i], image[i+1:]
	}
	return strings.TrimSuffix(image, name), tag
}

// listPage is how many objects one answer of the API server may hold.
const listPage = 500

// settling is how long the add-on may take to see a namespace.
const settling = 30 * time.Second

func (c *Cluster) readNamespaces(ctx context.Context) Namespaces {
	inScope := c.Settings.Scope.Matcher(settings.Reserved(c.Tekton.Namespace))
	var read Namespaces
	options := metav1.ListOptions{Limit: listPage}
	for {
		page, err := c.Clients.Kube.CoreV1().Namespaces().List(ctx, options)
		if err != nil {
			read.Err = err
			return read
		}
		for i := range page.Items {
			if ns := &page.Items[i]; ns.DeletionTimestamp == nil {
				read.List = append(read.List, Namespace{
					Name: ns.Name, Labels: ns.Labels, InScope: c.Known() && inScope(ns.Labels),
					Young: c.Options.Now().Sub(ns.CreationTimestamp.Time) < settling,
				})
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return read
		}
	}
}

// report returns the add-on for the report, nil if there is none.
func (a AddOn) report() *status.AddOn {
	d := a.Deployment
	if d == nil {
		return nil
	}
	addOn := &status.AddOn{
		Namespace: d.Namespace, Version: d.Labels[manifests.LabelVersion], Replicas: 1,
		Available: int(d.Status.AvailableReplicas), Updated: int(d.Status.UpdatedReplicas),
		ControllerImage: a.image(), SignerImage: a.env(manifests.EnvSignerImage),
	}
	if d.Spec.Replicas != nil {
		addOn.Replicas = int(*d.Spec.Replicas)
	}
	return addOn
}
