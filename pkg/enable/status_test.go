// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	certresources "knative.dev/pkg/webhook/certificates/resources"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// amiss lists the checks that did not pass, and what they expected and got.
func amiss(s *status.Status) string {
	var b strings.Builder
	for _, c := range s.Checks {
		if c.Status == verify.Pass || c.Status == verify.Note {
			continue
		}
		fmt.Fprintf(&b, "%s %s", c.Status, c.ID)
		if c.Object != nil {
			fmt.Fprintf(&b, " %s", c.Object)
		}
		fmt.Fprintf(&b, ": %s", c.Message)
		if c.Field+c.Expected+c.Got != "" {
			fmt.Fprintf(&b, "; %s: expected %s, got %s", c.Field, c.Expected, c.Got)
		}
		fmt.Fprintf(&b, "\n")
	}
	return b.String()
}

func TestStatusHealthy(t *testing.T) {
	in := newInstalled(t, nil)
	s := in.status(0)
	if got := amiss(s); s.Outcome != status.Healthy || got != "" {
		t.Errorf("outcome: got %s, want %s; amiss:\n%s", s.Outcome, status.Healthy, got)
	}
	if s.AddOn == nil || s.Settings == nil || s.Settings.Namespaces == nil {
		t.Fatalf("parts are missing: %+v", s)
	}
	want := status.NamespaceModes{InScope: 2, Audit: 1, Enforce: 1, Other: []status.NamespaceMode{{Namespace: "release", Enforcement: "enforce"}}}
	if diff := cmp.Diff(want, *s.Settings.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if got := s.Settings.Values[0]; got != (status.Setting{Name: "backend", Value: "oidc-sa-token", Key: settings.KeyBackend}) {
		t.Errorf("first setting: got %+v", got)
	}
	seen := map[status.CheckID]bool{}
	for _, c := range s.Checks {
		seen[c.ID] = true
	}
	for _, id := range []status.CheckID{
		status.CheckSettings, status.CheckDeployment, status.CheckVersion, status.CheckLeader, status.CheckClock, status.CheckCertificate, status.CheckTrustHistory,
		status.CheckObjects, status.CheckGrants, status.CheckTekton, status.CheckTektonSigner, status.CheckBackoff,
	} {
		if !seen[id] {
			t.Errorf("check %s is missing", id)
		}
	}
}

// TestStatusTektonsKind: whatever kind runs Tekton's controller, and whatever tenants have controllers of their own, all is well.
func TestStatusTektonsKind(t *testing.T) {
	for name, edit := range map[string]edit{
		"a StatefulSet": func(in *installed) {
			drop[deployment](in, "tekton-pipelines-controller")
			in.add(statefulTekton(testEnvironment.TektonNamespace, 3))
		},
		"a pod": func(in *installed) {
			drop[deployment](in, "tekton-pipelines-controller")
			in.add(tektonPod(testEnvironment.TektonNamespace, "tekton-x"))
		},
		"a tenant's out of scope": func(in *installed) { in.add(tenant("-namespace", "other")) },
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			edit(in)
			s := in.status(0)
			if got := amiss(s); s.Outcome != status.Healthy || s.Environment.Tekton != "v1.15.0" {
				t.Errorf("got %s with Tekton %q, want %s; amiss:\n%s", s.Outcome, s.Environment.Tekton, status.Healthy, got)
			}
		})
	}
}

type edit = func(*installed)

// renewed has the API server store the Lease, and the leader renew it, that much later, each by its own clock.
func renewed(stored, renewed time.Duration) edit {
	return renewedBy(manifests.Controller, stored, renewed)
}

func renewedBy(name string, stored, renewed time.Duration) edit {
	return edited(name, func(l *coordinationv1.Lease) {
		l.ManagedFields[0].Time = new(metav1.NewTime(l.ManagedFields[0].Time.Add(stored)))
		l.Spec.RenewTime = new(metav1.NewMicroTime(l.Spec.RenewTime.Add(renewed)))
	})
}

// edited edits the object of type T called name.
func edited[T runtime.Object](name string, f func(T)) edit {
	return func(in *installed) { f(get[T](in, name)) }
}

func dropped[T runtime.Object](name string) edit { return func(in *installed) { drop[T](in, name) } }

type (
	policy      = *admissionv1.ValidatingAdmissionPolicy
	binding     = *admissionv1.ValidatingAdmissionPolicyBinding
	webhooks    = *admissionv1.MutatingWebhookConfiguration
	deployment  = *appsv1.Deployment
	settingsMap = *corev1.ConfigMap
)

// TestStatusAmiss spoils one thing at a time and wants it named, with what was expected, and nothing else to be found amiss.
func TestStatusAmiss(t *testing.T) {
	for name, tc := range map[string]struct {
		edit    edit
		outcome status.Outcome
		want    []string // each in the one check that is amiss
	}{
		"port 8443 is closed": {
			func(in *installed) {
				in.spoil = func(c *fakeCluster) { c.reachable(portClosed("dial tcp 10.0.0.9:8443: connect: connection refused")) }
			}, status.Broken,
			[]string{"fail webhook-port Service tekton-sign/tekton-sign-controller", "port 8443", "connection refused"},
		},
		"port 8443 does not answer": {
			func(in *installed) {
				in.spoil = func(c *fakeCluster) { c.reachable(fmt.Errorf("get: %w", context.DeadlineExceeded)) }
			}, status.Broken,
			[]string{"fail webhook-port Service", "gets no answer from the add-on on port 8443"},
		},
		"a second controller of Tekton": {
			func(in *installed) { in.add(tenant("-namespace", "ci")) }, status.Broken,
			[]string{"fail tekton: more than one controller", "Deployment b/tekton-pipelines-controller", "namespace ci"},
		},
		"a policy is missing": {
			dropped[policy](manifests.SigningTokens), status.Broken,
			[]string{"fail objects ValidatingAdmissionPolicy " + manifests.SigningTokens + ": is missing"},
		},
		"a policy has one condition more": {
			edited(manifests.SigningTokens, func(p policy) {
				p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionv1.MatchCondition{Name: "never", Expression: "false"})
			}), status.Broken, []string{"spec.matchConditions[never]: expected (absent), got", `"expression":"false"`},
		},
		"a policy's rule is weaker": {
			edited(manifests.SigningTokens, func(p policy) { p.Spec.Validations[0].Expression = "true" }), status.Broken,
			[]string{"spec.validations[0].expression: expected object.spec.audiences.size() == 1, got true"},
		},
		"a policy is ignored on errors": {
			edited(manifests.TokenRequesters, func(p policy) { p.Spec.FailurePolicy = new(admissionv1.Ignore) }), status.Broken,
			[]string{"spec.failurePolicy: expected Fail, got Ignore"},
		},
		"a binding warns only": {
			edited(manifests.SigningTokens, func(b binding) { b.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn} }), status.Broken,
			[]string{"ValidatingAdmissionPolicyBinding", `spec.validationActions: expected ["Deny","Audit"], got ["Warn"]`},
		},
		"a binding got a selector": {
			edited(manifests.SigningTokens, func(b binding) {
				b.Spec.MatchResources = &admissionv1.MatchResources{ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
			}), status.Broken, []string{"spec.matchResources: expected (absent), got"},
		},
		"a webhook is ignored on errors": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks[1].FailurePolicy = new(admissionv1.Ignore) }), status.Broken,
			[]string{"MutatingWebhookConfiguration tekton-sign-status", "webhooks[status-enforce.tekton-sign.dev].failurePolicy: expected Fail, got Ignore"},
		},
		"a webhook is for other namespaces": {
			edited(manifests.InjectWebhook, func(w webhooks) { w.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{} }), status.Broken,
			[]string{"webhooks[inject-audit.tekton-sign.dev].namespaceSelector.matchExpressions: expected", "got (absent)"},
		},
		"a webhook goes elsewhere": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks[0].ClientConfig.Service.Name = "other" }), status.Broken,
			[]string{"clientConfig.service.name: expected tekton-sign-controller, got other"},
		},
		"a webhook is missing in its configuration": {
			edited(manifests.StatusWebhook, func(w webhooks) { w.Webhooks = w.Webhooks[:1] }), status.Broken,
			[]string{"webhooks[status-enforce.tekton-sign.dev]: expected", "got (absent)"},
		},
		"a webhook has no authority": {
			edited(manifests.InjectWebhook, func(w webhooks) { w.Webhooks[1].ClientConfig.CABundle = nil }), status.Broken,
			[]string{"clientConfig.caBundle", "got none in inject-enforce.tekton-sign.dev"},
		},
		"the webhooks are missing": {
			dropped[webhooks](manifests.InjectWebhook), status.Broken, []string{"MutatingWebhookConfiguration tekton-sign-inject: is missing"},
		},
		"a role gives less": {
			edited(manifests.TokenRequester, func(r *rbacv1.ClusterRole) { r.Rules = nil }), status.Broken,
			[]string{"ClusterRole tekton-sign-token-requester: was changed; rules: expected", "serviceaccounts/token", "got (absent)"},
		},
		"a role gives more": {
			edited(manifests.TokenRequester, func(r *rbacv1.ClusterRole) { r.Rules[0].Verbs = []string{"*"} }), status.Broken,
			[]string{`rules[0].verbs[0]: expected create, got *`},
		},
		"a role is bound to others": {
			edited(manifests.Controller, func(b *rbacv1.ClusterRoleBinding) {
				b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "Group", Name: "system:authenticated"})
			}), status.Broken, []string{"ClusterRoleBinding tekton-sign-controller", `subjects[system:authenticated]: expected (absent)`},
		},
		"the service selects others": {
			edited(manifests.Controller, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "other"} }), status.Broken,
			[]string{"Service tekton-sign/tekton-sign-controller", "spec.selector.app.kubernetes.io/name: expected controller, got (absent)"},
		},
		"the disruption budget is missing": {
			dropped[*policyv1.PodDisruptionBudget](manifests.Controller), status.Broken, []string{"PodDisruptionBudget tekton-sign/tekton-sign-controller: is missing"},
		},
		"the disruption budget was tuned": {
			edited(manifests.Controller, func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable.IntVal = 2 }), status.Warnings,
			[]string{"warn objects PodDisruptionBudget", "spec.minAvailable: expected 1, got 2"},
		},
		"the add-on runs another program": {
			edited(manifests.Controller, func(d deployment) { d.Spec.Template.Spec.Containers[0].Command = []string{"/other"} }), status.Broken,
			[]string{"spec.template.spec.containers[controller].command[0]: expected /controller, got /other"},
		},
		"the add-on has a container more": {
			edited(manifests.Controller, func(d deployment) {
				d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "evil"}}
			}), status.Broken, []string{"spec.template.spec.initContainers: expected (absent), got", "evil"},
		},
		"the add-on has other resources": {
			edited(manifests.Controller, func(d deployment) { d.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{} }), status.Warnings,
			[]string{"warn objects Deployment", "containers[controller].resources.limits.memory: expected 256Mi, got (absent)"},
		},
		"the add-on's signer is another version": {
			edited(manifests.Controller, func(d deployment) {
				for i, e := range d.Spec.Template.Spec.Containers[0].Env {
					if e.Name == manifests.EnvSignerImage {
						d.Spec.Template.Spec.Containers[0].Env[i].Value = "reg.example/signer:v1.2.2"
					}
				}
			}), status.Broken, []string{"fail version", `controller "v1.2.3", signer "v1.2.2"`, "env[SIGNER_IMAGE].value: expected reg.example/signer:v1.2.3, got reg.example/signer:v1.2.2"},
		},
		"the add-on is not there": {
			dropped[deployment](manifests.Controller), status.Broken, []string{"fail deployment Deployment tekton-sign/tekton-sign-controller: the add-on is not installed"},
		},
		"the keeper is not there": {
			dropped[deployment](manifests.Keeper), status.Broken, []string{"fail objects Deployment tekton-sign/tekton-sign-keeper: is missing"},
		},
		"the keeper does not run": {
			edited(manifests.Keeper, func(d deployment) { d.Status.AvailableReplicas = 0 }), status.Warnings,
			[]string{"warn deployment Deployment tekton-sign/tekton-sign-keeper: the keeper does not run"},
		},
		"the keeper does not work": {
			renewedBy(manifests.Keeper, -time.Hour, -time.Hour), status.Broken,
			[]string{"fail leader Lease tekton-sign/tekton-sign-keeper: no keeper works"},
		},
		"a grant of another version": {
			func(in *installed) { dropGrant(in, "ci"); in.add(manifests.Grant("ci", "before")) }, status.Broken,
			[]string{"fail grants RoleBinding ci/tekton-sign-token-requester: was changed", manifests.AnnotationFence},
		},
		"one replica serves": {
			edited(manifests.Controller, func(d deployment) { d.Status.AvailableReplicas = 1 }), status.Warnings,
			[]string{"warn deployment", "2 replicas of the latest state, all available, got 2 updated, 1 available: no pod yet"},
		},
		"no replica serves": {
			edited(manifests.Controller, func(d deployment) { d.Status.AvailableReplicas = 0 }), status.Broken, []string{"fail deployment", "no replica serves"},
		},
		"the add-on is scaled to nothing": {
			edited(manifests.Controller, func(d deployment) {
				d.Spec.Replicas, d.Status = new(int32), appsv1.DeploymentStatus{}
			}), status.Broken, []string{"it is scaled to 0", "spec.replicas: expected 2, got 0"},
		},
		"nobody leads": {
			dropped[*coordinationv1.Lease](manifests.Controller), status.Broken, []string{"fail leader Lease", "expected a Lease, got none"},
		},
		"the leader is gone": {
			renewed(-3*time.Minute, -3*time.Minute), status.Broken, []string{"fail leader", "renewed last at 20", "Z by tekton-sign-controller-1"},
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
		"the certificate is another authority's": {
			func(in *installed) {
				_, _, authority, err := certresources.CreateCerts(in.t.Context(), manifests.Controller, manifests.Namespace, in.now.Add(time.Hour))
				if err != nil {
					in.t.Fatal(err)
				}
				w := get[webhooks](in, manifests.StatusWebhook)
				for i := range w.Webhooks {
					w.Webhooks[i].ClientConfig.CABundle = authority
				}
			}, status.Broken, []string{"fail certificate Secret", "a certificate for tekton-sign-controller.tekton-sign.svc by the authority", "x509"},
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
			edited(manifests.CertificateSecret, func(s *corev1.Secret) { s.Data = nil }), status.Broken, []string{"fail certificate", "expected a certificate, got none"},
		},
		"the trust history is gone": {
			dropped[settingsMap](trust.HistoryName(1)), status.Broken, []string{"fail trust-history", "in ConfigMap tekton-sign-trust-1, got none"},
		},
		"the trust history is not kept": {
			func(in *installed) {
				drop[settingsMap](in, trust.HistoryName(1))
				in.add(in.trustHistory(in.now.Add(-3 * time.Hour)))
			}, status.Broken, []string{"fail trust-history", "got last seen at 20"},
		},
		"a namespace lacks its grant": {
			func(in *installed) { in.add(namespaceWith("mine", nil)); dropGrant(in, "ci") }, status.Broken,
			[]string{"fail grants", "1 of 2 namespaces in scope lack RoleBinding", "none in ci"},
		},
		"a namespace out of scope has a grant": {
			func(in *installed) { in.add(grantOf("other")) }, status.Broken, []string{"fail grants", "expected no grant out of scope, got one in other"},
		},
		"a grant is for everybody": {
			func(in *installed) {
				dropGrant(in, "ci")
				grant := grantOf("ci")
				grant.Subjects[0].Name = "system:authenticated"
				in.add(grant)
			}, status.Broken, []string{"fail grants RoleBinding ci/tekton-sign-token-requester: was changed", "system:serviceaccounts:ci", "system:authenticated"},
		},
		"the settings hold nonsense": {
			edited(settings.ConfigMapName, func(c settingsMap) { c.Data["delivery"] = "pigeon" }), status.Broken,
			[]string{"fail settings ConfigMap openshift-pipelines/config-signing", `key delivery: expected one of auto, image, init, got "pigeon"`,
				"unknown objects: how the objects should be cannot be told"},
		},
		"the settings are gone": {
			dropped[settingsMap](settings.ConfigMapName), status.Broken, []string{"fail settings", "is missing, although the add-on is installed",
				"unknown objects: how the objects should be cannot be told"},
		},
		"the settings name a namespace that does not exist": {
			func(in *installed) {
				in.objects = newInstalled(in.t, func(s *settings.Settings) { s.Scope.Names = []string{"ci", "gone", "release"} }).objects
			}, status.Warnings, []string{"warn namespaces", "do not exist: gone"},
		},
		"the policies are weak for what is enforced": {
			func(in *installed) {
				in.objects = newInstalled(in.t, func(s *settings.Settings) {
					s.Scope.Names, s.Policies = []string{"ci", "release"}, settings.PoliciesStandard
				}).objects
			}, status.Warnings, []string{"warn policies", "expected strict, got standard"},
		},
		"a label is no mode": {
			func(in *installed) { get[*corev1.Namespace](in, "ci").Labels[settings.LabelEnforcement] = "never" }, status.Warnings,
			[]string{"warn enforcement-labels", "expected audit or enforce, got ci=never"},
		},
		"Tekton signs, too": {
			edited("feature-flags", func(c settingsMap) { c.Data["enforce-nonfalsifiability"] = "spire" }), status.Warnings,
			[]string{"warn tekton-signer ConfigMap openshift-pipelines/feature-flags", "expected none, got spire"},
		},
		"Tekton does not wait": {
			edited("feature-flags", func(c settingsMap) { delete(c.Data, "enable-wait-exponential-backoff") }), status.Warnings,
			[]string{"warn backoff", "expected true, got (absent)"},
		},
		"Tekton is gone": {
			dropped[deployment]("tekton-pipelines-controller"), status.Broken, []string{"fail tekton: no Tekton Pipelines in namespace openshift-pipelines"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			tc.edit(in)
			s := in.status(0)
			got := amiss(s)
			if s.Outcome != tc.outcome {
				t.Errorf("outcome: got %s, want %s", s.Outcome, tc.outcome)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in:\n%s", want, got)
				}
			}
			for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
				if !containsAny(line, tc.want) {
					t.Errorf("this is amiss, too: %s", line)
				}
			}
		})
	}
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func dropGrant(in *installed, namespace string) {
	for i, object := range in.objects {
		if b, ok := object.(*rbacv1.RoleBinding); ok && b.Namespace == namespace {
			in.objects = append(in.objects[:i:i], in.objects[i+1:]...)
			return
		}
	}
	in.t.Fatalf("no grant in %s", namespace)
}

// TestStatusOff: signing is off, whatever else there is.
func TestStatusOff(t *testing.T) {
	off := func(in *installed) {
		get[settingsMap](in, settings.ConfigMapName).Data = map[string]string{settings.KeyBackend: "none"}
		dropGrant(in, "ci")
		dropGrant(in, "release")
	}
	empty := func(in *installed) {
		in.objects = []runtime.Object{tektonController(testEnvironment.TektonNamespace), namespaceWith("ci", nil)}
	}
	for name, tc := range map[string]struct {
		edit    edit
		outcome status.Outcome
		want    string
	}{
		"never on":                {empty, status.Off, ""},
		"off by the settings":     {off, status.Off, "warn left-over: signing is off, but this is still there: ClusterRole "},
		"no grant may stay":       {func(in *installed) { off(in); in.add(grantOf("ci")) }, status.Broken, "still in effect: RoleBinding ci/tekton-sign-token-requester"},
		"no webhook may stay":     {func(in *installed) { empty(in); in.add(newInstalled(t, nil).webhooksOnly()) }, status.Broken, "still in effect: MutatingWebhookConfiguration"},
		"the history may":         {func(in *installed) { empty(in); in.add(in.trustHistory(in.now)) }, status.Off, ""},
		"Tekton is not there":     {func(in *installed) { in.objects = nil }, status.Broken, "fail tekton: no Tekton Pipelines"},
		"forbidden to look":       {func(in *installed) { empty(in); in.forbid("list", "") }, status.Unknown, "unknown tekton: you may not read the Deployments and StatefulSets of all namespaces"},
		"settings cannot be read": {func(in *installed) { empty(in); in.forbid("get", "configmaps") }, status.Broken, "unknown settings: you may not read ConfigMap openshift-pipelines/config-signing"},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			tc.edit(in)
			s := in.status(0)
			if got := amiss(s); s.Outcome != tc.outcome || !strings.Contains(got, tc.want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, tc.outcome, tc.want)
			}
		})
	}
}

func (in *installed) webhooksOnly() runtime.Object { return get[webhooks](in, manifests.InjectWebhook) }

// forbid takes a right away: a verb on a kind of object, or on all.
func (in *installed) forbid(verb, resource string) {
	in.spoil = func(c *fakeCluster) {
		refuse := func(a clienttesting.Action) (bool, runtime.Object, error) {
			if resource != "" && a.GetResource().Resource != resource {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "x", errors.New("no"))
		}
		c.kube.PrependReactor(verb, "*", refuse)
		c.dynamic.PrependReactor(verb, "*", refuse)
	}
}

// TestStatusForbidden takes one right away: that part is unknown, and the rest is looked at. A Secret that cannot be read is
// nothing that is amiss.
func TestStatusForbidden(t *testing.T) {
	for resource, want := range map[string]string{
		"configmaps":                  "you may not read ConfigMap openshift-pipelines/config-signing",
		"deployments":                 "you may not read Deployment tekton-sign/tekton-sign-controller",
		"namespaces":                  "you may not read namespace kube-system",
		"leases":                      "you may not read Lease",
		"clusterroles":                "clusterroles: you may not read them (tekton-sign-chains, ",
		"validatingadmissionpolicies": "validatingadmissionpolicies: you may not read them",
		"secrets":                     "",
	} {
		t.Run(resource, func(t *testing.T) {
			in := newInstalled(t, nil)
			in.forbid("get", resource)
			s := in.status(0)
			got := amiss(s)
			outcome := status.Unknown
			if want == "" {
				outcome = status.Healthy
			}
			if s.Outcome != outcome || !strings.Contains(got, want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, outcome, want)
			}
			if s.Summary.Passed < 5 {
				t.Errorf("only %d checks passed", s.Summary.Passed)
			}
		})
	}
}

// TestStatusOtherVersion: what differs from the manifests of another version than the add-on's may belong to it.
func TestStatusOtherVersion(t *testing.T) {
	in := newInstalled(t, nil)
	look := func() *status.Status {
		s, err := GetStatus(t.Context(), in.clients(), StatusOptions{Version: "v1.3.0", Now: func() time.Time { return in.now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := look(); s.Outcome != status.Warnings || !strings.Contains(amiss(s), "warn version: the add-on is of another version than this plugin") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s))
	}
	get[webhooks](in, manifests.StatusWebhook).Webhooks[0].TimeoutSeconds = new(int32(7))
	if s := look(); s.Outcome != status.Unknown || !strings.Contains(amiss(s), "compared with version v1.3.0; the add-on is v1.2.3") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s))
	}
}

func TestStatusUnreachable(t *testing.T) {
	in := newInstalled(t, nil)
	in.spoil = func(c *fakeCluster) {
		c.kube.PrependReactor("get", "version", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
	}
	_, err := GetStatus(t.Context(), in.clients(), StatusOptions{Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got error %v", err)
	}
}

// completed is a TaskRun that completed so many minutes ago. Without a message it has no verdict.
func completed(in *installed, namespace, name string, minutes int, conditionStatus, message string) *unstructured.Unstructured {
	at := in.now.Add(-time.Duration(minutes) * time.Minute).Format(time.RFC3339)
	conditions := []any{map[string]any{"type": "Succeeded", "status": "True", "lastTransitionTime": at}}
	if message != "" {
		conditions = append(conditions, map[string]any{"type": "SignedResultsVerified", "status": conditionStatus, "message": message, "lastTransitionTime": at})
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	u.SetAPIVersion("tekton.dev/v1")
	u.SetKind("TaskRun")
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func TestStatusVerdicts(t *testing.T) {
	in := newInstalled(t, nil)
	running := completed(in, "ci", "running", 0, "", "")
	running.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Succeeded", "status": "Unknown"}}}
	in.runs = []*unstructured.Unstructured{
		running,
		completed(in, "ci", "oldest", 50, "True", "VERIFIED: 1 result"),
		completed(in, "ci", "newest", 1, "False", "FAILED: results\x1b[2K"),
		completed(in, "ci", "unsigned", 20, "False", "UNSIGNED: coverage"),
		completed(in, "release", "gone", 30, "False", "INDETERMINATE: pod"),
		completed(in, "ci", "forged", 40, "True", "trust me"),
		completed(in, "ci", "before", 60, "", ""),
		completed(in, "ci", "awaiting", 2, "Unknown", "the TaskRun is not completed"),
		completed(in, "other", "elsewhere", 3, "True", "VERIFIED: 1 result"),
	}
	s := in.status(3)
	want := &status.Verdicts{
		Looked: 9, Verified: 1, Failed: 2, Unsigned: 1, Indeterminate: 1, NotJudged: 2,
		Newest: []status.Verdict{
			{Namespace: "ci", Name: "newest", Verdict: verify.Failed, At: in.now.Add(-time.Minute), Message: "FAILED: results\x1b[2K"},
			{Namespace: "ci", Name: "unsigned", Verdict: verify.Unsigned, At: in.now.Add(-20 * time.Minute), Message: "UNSIGNED: coverage"},
			{Namespace: "release", Name: "gone", Verdict: verify.Indeterminate, At: in.now.Add(-30 * time.Minute), Message: "INDETERMINATE: pod"},
		},
	}
	if diff := cmp.Diff(want, s.Verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if s.Outcome != status.Warnings || !strings.Contains(amiss(s), "warn verdicts: TaskRuns that did not verify: 2") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s))
	}
	if s := in.status(0); s.Verdicts != nil || s.Outcome != status.Healthy {
		t.Errorf("without verdicts: got %s and %+v", s.Outcome, s.Verdicts)
	}
	large := completed(in, "ci", "large", 4, "", "")
	large.SetAnnotations(map[string]string{"pad": strings.Repeat("x", 1_567_000)})
	recorded := completed(in, "ci", "recorded", 5, "True", "VERIFIED: 1 result")
	recorded.SetAnnotations(large.GetAnnotations())
	if err := unstructured.SetNestedField(recorded.Object, "v1", "status", "annotations", "tekton-sign.dev/record"); err != nil {
		t.Fatal(err)
	}
	in.runs = []*unstructured.Unstructured{large, recorded}
	if s := in.status(3); s.Outcome != status.Warnings || amiss(s) != "warn verdicts: TaskRuns too large for a verdict or a record: ci/large\n" {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s))
	}
	in.forbid("list", "taskruns")
	if s := in.status(3); s.Outcome != status.Unknown || !strings.Contains(amiss(s), "you may not read the TaskRuns of all namespaces") {
		t.Errorf("forbidden: got %s:\n%s", s.Outcome, amiss(s))
	}
}

// TestStatusVerdictsCapped: a cluster with many TaskRuns is not read to its end, and the report says so.
func TestStatusVerdictsCapped(t *testing.T) {
	in := newInstalled(t, nil)
	asked := 0
	in.spoil = func(c *fakeCluster) {
		c.dynamic.PrependReactor("list", "taskruns", func(clienttesting.Action) (bool, runtime.Object, error) {
			asked++
			page := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "tekton.dev/v1", "kind": "TaskRunList"}}
			for i := range listPage {
				page.Items = append(page.Items, *completed(in, "ci", fmt.Sprintf("r-%d-%d", asked, i), i, "True", "VERIFIED: 1 result"))
			}
			page.SetContinue("more")
			return true, page, nil
		})
	}
	got := in.status(2).Verdicts
	if got.Looked != maxTaskRuns || !got.More || got.Verified != maxTaskRuns || len(got.Newest) != 2 || asked != maxTaskRuns/listPage {
		t.Errorf("looked at %d in %d pages, more %v, %d verified, %d shown", got.Looked, asked, got.More, got.Verified, len(got.Newest))
	}
}

func TestCommand(t *testing.T) {
	s := settings.Default()
	s.Backend = signing.BackendOIDCSAToken
	if got, want := Command(s, manifests.DefaultRegistry), "enable oidc-sa-token"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Scope.Selector, s.Enforcement, s.TokenLifetime = "team in (a,b)", settings.Enforce, 20*time.Minute
	s.Exempt = []settings.Account{{Namespace: "ci", Name: "vault"}}
	want := "enable oidc-sa-token --enforcement=enforce --namespace-selector='team in (a,b)' --token-lifetime=20m0s " +
		"--exempt-service-account=ci/vault --registry=reg.example/x"
	if got := Command(s, "reg.example/x"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
