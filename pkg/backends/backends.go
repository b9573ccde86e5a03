// SPDX-License-Identifier: Apache-2.0

// Package backends is the table of backends. The plugin and the add-on go by its rows, and by nothing else: a
// backend is a row here, a row of the schemes of package signing, and the folder of its own below
// pkg/signing.
package backends

import (
	"fmt"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	oidccluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/oidc/proof"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// Descriptor is one row: all that the product knows of a backend.
type Descriptor struct {
	Name    signing.Backend
	Summary string // one line for help, without a full stop
	// Enabled is whether this version can turn it on. Evidence of the others is verified all the same.
	Enabled bool
	// Signs is whether the steps themselves sign, for which the inject webhook gives them the signer.
	Signs bool
	// Tokens is whether steps sign with service account tokens: each namespace needs the right to request them,
	// and the admission policies that confine it.
	Tokens bool
	// Reader returns the verifier half, for evidence of a cluster; nil if nothing in the pod signs.
	Reader func(cluster *trust.Cluster, policy check.Policy) (check.Reader, error)
}

// All returns the table, in the order in which help shows it.
func All() []Descriptor {
	return []Descriptor{
		{
			Name:    signing.BackendOIDCSAToken,
			Summary: "signs with the cluster's own service account tokens and needs nothing else",
			Enabled: true, Signs: true, Tokens: true,
			Reader: func(cluster *trust.Cluster, policy check.Policy) (check.Reader, error) {
				return oidccluster.NewReader(cluster, policy)
			},
		},
		{
			Name:    signing.BackendSPIRE,
			Summary: "signs with X.509 SVIDs of a SPIRE that runs in the cluster",
			Signs:   true,
			Reader: func(cluster *trust.Cluster, _ check.Policy) (check.Reader, error) {
				return spirecluster.NewReader(cluster)
			},
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

// Of returns the row of a backend. That of none, or of an unknown one, is empty.
func Of(name signing.Backend) Descriptor {
	all := All()
	if i := slices.IndexFunc(all, func(d Descriptor) bool { return d.Name == name }); i >= 0 {
		return all[i]
	}
	return Descriptor{Name: name}
}

// Enabled returns the rows that this version can turn on.
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

// Check is an error that names what this version cannot do of the settings.
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

// Readers returns the verifier halves for evidence of a cluster.
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

// Records returns the reader of what proves a record of the add-on: a token of the add-on's own account,
// whatever the backend.
func Records(cluster *trust.Cluster, policy check.Policy) (*proof.Reader, error) {
	return oidccluster.NewReader(cluster, policy)
}
