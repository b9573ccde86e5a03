// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/strictjson"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// ReportConfigMap is the ConfigMap in the add-on's namespace in which the leading replica of the add-on writes what it
// sees of SPIRE. Only the add-on has an SVID, so nobody else can see that.
const ReportConfigMap = "spire-report"

const reportKey = "report"

// Limits of a report.
const maxReport, maxReportError = 16 << 10, 1 << 10

// Report is what the add-on sees of SPIRE.
type Report struct {
	Time     time.Time `json:"time"`
	SPIFFEID string    `json:"spiffeID,omitempty"` // the add-on's own
	Expires  time.Time `json:"expires,omitzero"`   // its SVID
	Agents   *Agents   `json:"agents,omitempty"`   // as SPIRE's server lists them to the admin
	// Error is why the add-on cannot register TaskRuns, or has no SVID.
	Error string `json:"error,omitempty"`
	// Denied is true if SPIRE's server answered that the add-on is not an admin.
	Denied bool `json:"denied,omitempty"`
}

// Report writes what the add-on sees of SPIRE while the backend is spire. It returns an error if that is not in order,
// or cannot be written.
func (r *Registrar) Report(ctx context.Context, maps typedcorev1.ConfigMapsGetter) error {
	s := r.settings()
	if s.Backend != signing.BackendSPIRE {
		return nil
	}
	report, err := r.look(ctx, s.SPIRE)
	if err != nil {
		report.Error = display.Cut(err.Error(), maxReportError)
		report.Denied = isDenied(err)
	}
	if writing := writeReport(ctx, maps, report); writing != nil {
		return writing
	}
	return err
}

func isDenied(err error) bool {
	c := status.Code(err)
	return c == codes.PermissionDenied || c == codes.Unauthenticated
}

func (r *Registrar) look(ctx context.Context, s settings.SPIRE) (Report, error) {
	report := Report{Time: r.now().UTC()}
	svid, err := r.identity.GetX509SVID()
	if err != nil {
		return report, err
	}
	report.SPIFFEID, report.Expires = svid.ID.String(), svid.Certificates[0].NotAfter.UTC()
	if s.Entries != settings.EntriesAPI {
		return report, nil
	}
	if _, err := r.Client(); err != nil {
		return report, err
	}
	r.mu.Lock()
	entries := r.entries
	r.mu.Unlock()
	agents, err := entries.Agents(ctx)
	if err == nil {
		report.Agents = &agents
	}
	return report, err
}

func writeReport(ctx context.Context, maps typedcorev1.ConfigMapsGetter, report Report) error {
	value, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encoding the report about SPIRE: %w", err)
	}
	data := map[string]string{reportKey: string(value)}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("encoding the report about SPIRE: %w", err)
	}
	client := maps.ConfigMaps(settings.Namespace)
	_, err = client.Patch(ctx, ReportConfigMap, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: settings.Namespace, Name: ReportConfigMap,
				Labels: map[string]string{"app.kubernetes.io/name": "controller", "app.kubernetes.io/part-of": "tekton-sign"},
			},
			Data: data,
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", settings.Namespace, ReportConfigMap, err)
	}
	return nil
}

// readReport returns the report, or nil if there is none.
func readReport(ctx context.Context, t cluster.Target) (*Report, error) {
	cm, err := t.Kube.CoreV1().ConfigMaps(settings.Namespace).Get(ctx, ReportConfigMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case len(cm.Data[reportKey]) > maxReport:
		return nil, fmt.Errorf("expected a report of at most %d bytes, got %d", maxReport, len(cm.Data[reportKey]))
	}
	var report Report
	if err := strictjson.DecodeOpen([]byte(cm.Data[reportKey]), &report); err != nil {
		return nil, err
	}
	return &report, report.check()
}

// check refuses what the add-on does not write. Commands for the user contain the SPIFFE ID, so it must be one: then it
// has no character that a shell reads.
func (r *Report) check() error {
	if r.SPIFFEID != "" {
		if _, err := spiffeid.FromString(r.SPIFFEID); err != nil {
			return fmt.Errorf("the SPIFFE ID of the add-on: %w", err)
		}
	}
	if a := r.Agents; a != nil && (len(a.Versions) > maxVersions || min(a.Valid, a.Expired, a.Banned) < 0) {
		return fmt.Errorf("expected numbers of agents, and at most %d versions", maxVersions)
	}
	return nil
}
