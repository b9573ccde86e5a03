// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

func TestAddOn(t *testing.T) {
	testAmiss(t, checkAddOn, map[string]amissCase{
		"port 8443 is closed": {
			func(in *installed) {
				in.spoil = func(c fakeClients) {
					c.answer(enabletest.PortClosed("dial tcp 10.0.0.9:8443: connect: connection refused"))
				}
			}, status.Broken,
			[]string{"fail webhook-port Service tekton-sign/tekton-sign-controller", "port 8443", "connection refused"},
		},
		"port 8443 does not answer": {
			func(in *installed) {
				in.spoil = func(c fakeClients) { c.answer(fmt.Errorf("get: %w", context.DeadlineExceeded)) }
			}, status.Broken,
			[]string{"fail webhook-port Service", "gets no answer from the add-on on port 8443"},
		},
		"the add-on's signer is another version": {
			edited(manifests.Controller, func(d deployment) {
				for i, e := range d.Spec.Template.Spec.Containers[0].Env {
					if e.Name == manifests.EnvSignerImage {
						d.Spec.Template.Spec.Containers[0].Env[i].Value = "reg.example/signer:v1.2.2"
					}
				}
			}), status.Broken, []string{
				"fail version", `controller "v1.2.3", signer "v1.2.2"`,
				"env[SIGNER_IMAGE].value: expected reg.example/signer:v1.2.3, got reg.example/signer:v1.2.2",
			},
		},
		"the add-on is not there": {
			dropped[deployment](manifests.Controller), status.Broken,
			[]string{"fail deployment Deployment tekton-sign/tekton-sign-controller: the add-on is not installed"},
		},
		"the keeper does not run": {
			edited(manifests.Keeper, func(d deployment) { d.Status.AvailableReplicas = 0 }), status.Warnings,
			[]string{"warn deployment Deployment tekton-sign/tekton-sign-keeper: the keeper does not run"},
		},
		"one replica serves": {
			edited(manifests.Controller, func(d deployment) { d.Status.AvailableReplicas = 1 }), status.Warnings,
			[]string{"warn deployment", "2 replicas of the latest state, all available, got 2 updated, 1 available: no pod yet"},
		},
		"no replica serves": {
			edited(manifests.Controller, func(d deployment) { d.Status.AvailableReplicas = 0 }), status.Broken,
			[]string{"fail deployment", "no replica serves"},
		},
		"the add-on is scaled to nothing": {
			edited(manifests.Controller, func(d deployment) {
				d.Spec.Replicas, d.Status = new(int32), appsv1.DeploymentStatus{}
			}), status.Broken, []string{"it is scaled to 0", "spec.replicas: expected 2, got 0"},
		},
	})
}

func TestLeaders(t *testing.T) {
	testAmiss(t, checkLeaders, map[string]amissCase{
		"the keeper does not work": {
			renewedBy(manifests.Keeper, -time.Hour, -time.Hour), status.Broken,
			[]string{"fail leader Lease tekton-sign/tekton-sign-keeper: no keeper works"},
		},
		"nobody leads": {
			dropped[*coordinationv1.Lease](manifests.Controller), status.Broken,
			[]string{"fail leader Lease", "expected a Lease, got none"},
		},
		"the leader is gone": {
			renewed(-3*time.Minute, -3*time.Minute), status.Broken,
			[]string{"fail leader", "renewed last at 20", "Z by tekton-sign-controller-1"},
		},
		"the leader is gone, of an API server that does not say when it stored what": {
			edited(manifests.Controller, func(l *coordinationv1.Lease) {
				l.ManagedFields, l.Spec.RenewTime = nil, new(metav1.NewMicroTime(l.Spec.RenewTime.Add(-3*time.Minute)))
			}), status.Broken, []string{"fail leader", "renewed last at 20"},
		},
		"the leader's clock is ahead": {
			renewed(0, time.Hour), status.Warnings, []string{"warn clock", "expected at most 30s apart, got 1h0m0s ahead"},
		},
		"the leader's clock is a little behind": {
			renewed(0, -time.Minute), status.Warnings, []string{"warn clock", "got 1m0s behind"},
		},
		"the leader's clock is behind": {
			renewed(0, -10*time.Minute), status.Broken, []string{"fail clock", "got 10m0s behind", "no TaskRun is judged"},
		},
	})
}

func TestCertificate(t *testing.T) {
	testAmiss(t, checkCertificate, map[string]amissCase{
		"the certificate is another authority's": {
			func(in *installed) {
				_, _, authority, err := certresources.CreateCerts(in.t.Context(), manifests.Controller, manifests.Namespace,
					in.now.Add(time.Hour))
				if err != nil {
					in.t.Fatal(err)
				}
				w := get[webhooks](in, manifests.StatusWebhook)
				for i := range w.Webhooks {
					w.Webhooks[i].ClientConfig.CABundle = authority
				}
			}, status.Broken, []string{
				"fail certificate Secret", "a certificate for tekton-sign-controller.tekton-sign.svc by the authority", "x509",
			},
		},
		"the certificate is old": {
			func(in *installed) {
				in.now = in.now.Add(6*24*time.Hour + 12*time.Hour)
				for _, name := range []string{manifests.Controller, manifests.Keeper} {
					renewedBy(name, 6*24*time.Hour+12*time.Hour, 6*24*time.Hour+12*time.Hour)(in)
				}
				drop[settingsMap](in, trust.HistoryName(1))
				in.add(in.trustHistory(in.now))
			}, status.Warnings, []string{"warn certificate", "it should have been renewed"},
		},
		"the certificate is empty": {
			edited(manifests.CertificateSecret, func(s *corev1.Secret) { s.Data = nil }), status.Broken,
			[]string{"fail certificate", "expected a certificate, got none"},
		},
	})
}

func TestTrustHistory(t *testing.T) {
	testAmiss(t, checkTrustHistory, map[string]amissCase{
		"the trust history is gone": {
			dropped[settingsMap](trust.HistoryName(1)), status.Broken,
			[]string{"fail trust-history", "in ConfigMap tekton-sign-trust-1, got none"},
		},
		"the trust history is not kept": {
			func(in *installed) {
				drop[settingsMap](in, trust.HistoryName(1))
				in.add(in.trustHistory(in.now.Add(-3 * time.Hour)))
			}, status.Broken, []string{"fail trust-history", "got last seen at 20"},
		},
	})
}
