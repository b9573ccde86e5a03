// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/statushash"
)

// StatusSignedAt is when the status of a virtual cluster's TaskRun is signed: when the TaskRun ended.
func StatusSignedAt() time.Time { return Start().Add(time.Minute) }

// StatusSigning changes how the status of a TaskRun is signed.
type StatusSigning struct {
	CA          *CA                     // issues the SVID, the cluster's own if nil
	Path        string                  // of the SVID's ID, the add-on's if empty
	At          time.Time               // StatusSignedAt if zero
	Certificate func(*x509.Certificate) // changes the SVID
	Key         crypto.Signer           // signs in place of the SVID's key
	Tekton      bool                    // signs as Tekton's own controller does, in form v1
}

// SignStatus signs the status of a TaskRun as it is, as the add-on of the cluster does.
func (c *Cluster) SignStatus(tr *v1.TaskRun, change StatusSigning) error {
	ca, at := change.CA, change.At
	if ca == nil {
		ca = c.CA
	}
	if at.IsZero() {
		at = StatusSignedAt()
	}
	key, chain, err := ca.controller(change)
	if err != nil {
		return err
	}
	if change.Key != nil {
		key = change.Key
	}
	if change.Tekton {
		return signAsTekton(tr, chain, key)
	}
	return statushash.Sign(rand.Reader, tr, chain, key, at)
}

// AddOnSVID returns a key and an SVID of the add-on, the leaf first.
func (c *CA) AddOnSVID() (crypto.Signer, []*x509.Certificate, error) {
	return c.controller(StatusSigning{})
}

// controller issues the SVID of a controller.
func (c *CA) controller(change StatusSigning) (crypto.Signer, []*x509.Certificate, error) {
	path := change.Path
	switch {
	case path != "":
	case change.Tekton:
		path = "/tekton/controller"
	default:
		path = "/tekton-sign/controller"
	}
	key, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	chain, err := c.SVID("", "", key.Public(), func(certificate *x509.Certificate) {
		certificate.URIs = []*url.URL{{Scheme: "spiffe", Host: c.TrustDomain, Path: path}}
		certificate.NotBefore = Start().Add(-time.Minute) // a controller runs longer than a TaskRun
		if change.Certificate != nil {
			change.Certificate(certificate)
		}
	})
	return key, chain, err
}

// signAsTekton signs a status in form v1.
func signAsTekton(tr *v1.TaskRun, chain []*x509.Certificate, key crypto.Signer) error {
	hash, err := statushash.Hash(context.Background(), tr)
	if err != nil {
		return err
	}
	signature, err := signing.SignLegacyValue(rand.Reader, key, hash)
	if err != nil {
		return err
	}
	if tr.Status.Annotations == nil {
		tr.Status.Annotations = map[string]string{}
	}
	tr.Status.Annotations[signing.StatusHash] = hash
	tr.Status.Annotations[signing.StatusSignature] = signature
	tr.Status.Annotations[signing.StatusCertificates] = spire.FormatLegacy(chain[0])
	return nil
}
