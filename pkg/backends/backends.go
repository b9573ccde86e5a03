// SPDX-License-Identifier: Apache-2.0

// Package backends is the table of backends. The plugin and the add-on use only its rows: a backend is a row
// here, rows in the schemes of package signing, and its own folder below pkg/signing.
package backends

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	oidccluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/proof"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Descriptor is one row: everything that the plugin and the add-on know about a backend.
type Descriptor struct {
	Name    signing.Backend
	Summary string // one line for help, without a full stop
	// Enabled is whether this version can enable the backend. It can verify evidence of the others.
	Enabled bool
	// Signs is whether the steps themselves sign. Then the inject webhook adds the signer to them.
	Signs bool
	// Tokens is whether steps sign with service account tokens. Then each namespace needs the permission to
	// request them, and the admission policies that restrict it.
	Tokens bool
	// Estimated explains what of the evidence's length the budget can only estimate; empty if nothing.
	Estimated string
	// StepVolumes are what the signer of a step needs in its pod, and AddOnVolumes what the add-on needs in its own.
	StepVolumes, AddOnVolumes []cluster.Volume
	// ConfigMap is where Tekton keeps settings of the backend; nil if nowhere.
	ConfigMap *ConfigMap
	// Objects returns the objects of other controllers by which TaskRuns are registered in namespaces, and whether the
	// settings ask for them; nil if there are none.
	Objects func(settings.Settings, *metav1.LabelSelector) (objects []runtime.Object, wanted bool, err error)
	// Kind is the kind of Objects.
	Kind schema.GroupVersionKind
	// Check checks what the backend needs in a cluster with an installation; nil if nothing.
	Check func(context.Context, cluster.Target) []cluster.Finding
	// Preflight are the checks of what the backend needs before it is enabled.
	Preflight []cluster.Check
	// Reader returns the verifying half for evidence of a cluster; nil if nothing in the pod signs.
	Reader func(cluster *trust.Cluster, policy check.Policy) (check.Reader, error)
	// Status returns what verifies a status that is signed as a whole; nil if the backend signs none.
	Status func(cluster *trust.Cluster) (StatusReader, error)
}

// StatusReader verifies the status of completed TaskRuns that is signed as a whole. It is safe for concurrent use.
type StatusReader interface {
	Status(ctx context.Context, tr *v1.TaskRun, run check.Run) check.Judgement
}

// Drivers returns the CSI drivers that mount the backend's volumes into the pods of TaskRuns.
func (d Descriptor) Drivers() []string {
	var drivers []string
	for _, v := range d.StepVolumes {
		if v.Source.CSI != nil {
			drivers = append(drivers, v.Source.CSI.Driver)
		}
	}
	return drivers
}

// ConfigMap is one of Tekton's own, with settings of one backend.
type ConfigMap struct {
	Name string
	// Read returns the settings with the data of the ConfigMap, which is nil if there is none.
	Read func(settings.Settings, map[string]string) (settings.Settings, error)
	// Missing warns that a namespace has no such ConfigMap.
	Missing func(namespace string) string
}

// ConfigMaps returns the ConfigMaps of all backends.
func ConfigMaps() []ConfigMap {
	var all []ConfigMap
	for _, d := range All() {
		if d.ConfigMap != nil {
			all = append(all, *d.ConfigMap)
		}
	}
	return all
}

// Registrar is what the add-on runs of a backend with which it registers TaskRuns.
type Registrar interface {
	// Run keeps the add-on's own identity until ctx ends.
	Run(ctx context.Context)
	// SettingsChanged makes Run read the settings again.
	SettingsChanged()
	// Client returns the client with which TaskRuns are registered now.
	Client() (cluster.ControllerClient, error)
	// Status returns the client that signs and verifies the status of TaskRuns.
	Status() cluster.StatusClient
	// Report writes what the add-on sees of the backend, for the command status. The error is what is not in order.
	Report(ctx context.Context, maps typedcorev1.ConfigMapsGetter) error
	// Trust adds the keys in use now to a cluster.
	Trust(c *trust.Cluster)
	// Federated adds keys in use now of others, which identify no TaskRun of the cluster. They are not kept.
	Federated(c *trust.Cluster)
}

// RegistrarOptions are what NewRegistrar needs.
type RegistrarOptions = spirecluster.RegistrarOptions

// NewRegistrar returns the registrar of the only backend that has one.
func NewRegistrar(options RegistrarOptions) Registrar { return spirecluster.NewRegistrar(options) }

// All returns the table, in the order in which help shows it.
func All() []Descriptor {
	return []Descriptor{
		{
			Name:    signing.BackendOIDCSAToken,
			Summary: "signs with the cluster's own service account tokens and needs nothing else",
			Enabled: true, Signs: true, Tokens: true,
			Preflight: oidccluster.Preflight(),
			Reader: func(cluster *trust.Cluster, policy check.Policy) (check.Reader, error) {
				return oidccluster.NewReader(cluster, policy)
			},
		},
		{
			Name:    signing.BackendSPIRE,
			Summary: "signs with X.509 SVIDs of a SPIRE that runs in the cluster",
			Enabled: true, Signs: true,
			Estimated: "the length of certificates is estimated: those with RSA keys or intermediate certificates are " +
				"up to 1000 bytes longer",
			Objects: spirecluster.ManagerObjects, Kind: spirecluster.ManagerKind(),
			ConfigMap: &ConfigMap{
				Name: config.ConfigMapName, Read: settings.Settings.WithSPIRE, Missing: spirecluster.WithoutConfigMap,
			},
			Check: spirecluster.Check, Preflight: spirecluster.Preflight(),
			StepVolumes: spirecluster.StepVolumes(), AddOnVolumes: spirecluster.AddOnVolumes(),
			Reader: func(cluster *trust.Cluster, _ check.Policy) (check.Reader, error) {
				return spirecluster.NewReader(cluster)
			},
			Status: func(cluster *trust.Cluster) (StatusReader, error) { return spirecluster.NewReader(cluster) },
		},
		{
			Name:    signing.BackendReceipt,
			Summary: "puts nothing into pods: the add-on compares each TaskRun with what the kubelet reported of its pod",
			Enabled: true,
		},
		{
			Name:    signing.BackendSigstoreKeyless,
			Summary: "signs with certificates of a Sigstore's Fulcio",
			Signs:   true,
		},
	}
}

// Of returns the row of a backend. It is empty for BackendNone and for an unknown backend.
func Of(name signing.Backend) Descriptor {
	all := All()
	if i := slices.IndexFunc(all, func(d Descriptor) bool { return d.Name == name }); i >= 0 {
		return all[i]
	}
	return Descriptor{Name: name}
}

// Enabled returns the rows of the backends that this version can enable.
func Enabled() []Descriptor {
	return slices.DeleteFunc(All(), func(d Descriptor) bool { return !d.Enabled })
}

// Names returns the names of rows.
func Names(rows []Descriptor) []string {
	names := make([]string, len(rows))
	for i, d := range rows {
		names[i] = string(d.Name)
	}
	return names
}

// Check returns an error if this version cannot apply the settings.
func Check(s settings.Settings) error {
	if s.Backend == signing.BackendNone {
		return nil
	}
	d := Of(s.Backend)
	if !d.Enabled {
		return fmt.Errorf("backend %s is not yet in this version: use %s", s.Backend, Enabled()[0].Name)
	}
	if d.Tokens && s.Policies == settings.PoliciesNone {
		return fmt.Errorf("backend %s needs policies %s or %s: without them anyone who can edit a namespace can sign "+
			"in the name of its TaskRuns", s.Backend, settings.PoliciesStandard, settings.PoliciesStrict)
	}
	return nil
}

// Readers returns the verifying halves for evidence of a cluster.
func Readers(cluster *trust.Cluster, policy check.Policy) (map[signing.Backend]check.Reader, error) {
	readers := map[signing.Backend]check.Reader{}
	for _, d := range All() {
		if d.Reader == nil {
			continue
		}
		reader, err := d.Reader(cluster, policy)
		if err != nil {
			return nil, err
		}
		readers[d.Name] = reader
	}
	return readers, nil
}

// StatusReaders returns what verifies the status of TaskRuns of a cluster.
func StatusReaders(cluster *trust.Cluster) ([]StatusReader, error) {
	var readers []StatusReader
	for _, d := range All() {
		if d.Status == nil {
			continue
		}
		reader, err := d.Status(cluster)
		if err != nil {
			return nil, err
		}
		readers = append(readers, reader)
	}
	return readers, nil
}

// Records returns the reader for the proof of a record of the add-on. With every backend, that is a token of
// the add-on's own account.
func Records(cluster *trust.Cluster, policy check.Policy) (*proof.Reader, error) {
	return oidccluster.NewReader(cluster, policy)
}
