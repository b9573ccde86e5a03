// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/check"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/proof"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/statushash"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// statusSkew is how far the clocks of the add-on's replicas may be apart.
const statusSkew = 5 * time.Minute

// Status signs the status of TaskRuns with the add-on's SVID, and verifies it with the authorities that the add-on has
// seen. It has everything in memory. It is safe for concurrent use.
type Status struct {
	settings func() settings.Settings
	svids    x509svid.Source
	trusted  func() *trust.Cluster
	now      func() time.Time

	mu     sync.Mutex
	reader *proof.Reader
	of     *trust.Cluster // what reader was made of; nil: nothing was known
}

var _ cluster.StatusClient = (*Status)(nil)

// NewStatus returns a client that signs with the SVID of svids.
func NewStatus(o RegistrarOptions, svids x509svid.Source) *Status {
	return &Status{settings: o.Settings, svids: svids, trusted: o.Trusted, now: o.Now}
}

// AppendStatusInternalAnnotation implements cluster.StatusClient. It adds nothing that it would refute itself, such as
// a signature at a time at which the SVID is not valid by the clock of this replica.
func (s *Status) AppendStatusInternalAnnotation(ctx context.Context, tr *v1.TaskRun) error {
	now := s.settings()
	if now.Backend != signing.BackendSPIRE {
		return nil
	}
	svid, err := s.svids.GetX509SVID()
	if err != nil {
		return err
	}
	wanted := spire.AddOnIDs(now.SPIRE.TrustDomain)
	if id := svid.ID.String(); !slices.Contains(wanted, id) {
		return fmt.Errorf("expected the SPIFFE ID %s, got %s: register the add-on with that ID",
			strings.Join(wanted, " or "), id)
	}
	leaf, at := svid.Certificates[0], s.now()
	if at.Before(leaf.NotBefore) || at.After(leaf.NotAfter) {
		return fmt.Errorf("expected a time %s, while the add-on's SVID is valid, got %s: check the clock and SPIRE's agent",
			check.Window(leaf.NotBefore, leaf.NotAfter), at.UTC().Format(time.RFC3339))
	}
	signed := tr.DeepCopy()
	if err := statushash.Sign(rand.Reader, signed, svid.Certificates, svid.PrivateKey, at); err != nil {
		return err
	}
	var refuted *cluster.StatusRefutedError
	if err := s.VerifyStatusInternalAnnotation(ctx, signed); errors.As(err, &refuted) {
		return fmt.Errorf("the signature would not be accepted: %w", err)
	}
	tr.Status.Annotations = signed.Status.Annotations
	return nil
}

// VerifyStatusInternalAnnotation implements cluster.StatusClient.
func (s *Status) VerifyStatusInternalAnnotation(ctx context.Context, tr *v1.TaskRun) error {
	_, err := statushash.Parse(tr.Status.Annotations)
	if errors.Is(err, statushash.ErrNone) && s.CheckSpireVerifiedFlag(tr) {
		return cluster.ErrStatusUnsigned
	}
	reader, err := s.current()
	if err != nil {
		return err
	}
	run := check.Run{Namespace: tr.Namespace, Name: tr.Name, Now: s.now(), Skew: statusSkew, Live: true}
	if at := tr.Status.CompletionTime; at != nil {
		run.Completed = at.Time
	}
	judged := reader.Status(ctx, tr, run)
	for _, c := range judged.Checks {
		if c.Status == check.Fail {
			return &cluster.StatusRefutedError{Check: c}
		}
	}
	if !judged.Trusted {
		return cluster.ErrStatusUndecided
	}
	return nil
}

// CheckSpireVerifiedFlag implements cluster.StatusClient.
func (s *Status) CheckSpireVerifiedFlag(tr *v1.TaskRun) bool { return statushash.Unchanged(tr) }

// current returns a reader for the authorities that are known now.
func (s *Status) current() (*proof.Reader, error) {
	known := s.trusted()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader != nil && s.of == known {
		return s.reader, nil
	}
	reader, err := NewReader(cmp.Or(known, &trust.Cluster{})) // an empty one decides nothing
	if err != nil {
		return nil, err
	}
	s.reader, s.of = reader, known
	return reader, nil
}
