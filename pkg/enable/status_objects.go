// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// readers is how many objects are read at once.
const readers = 8

// maxDifferences is how many fields of one object are told.
const maxDifferences = 4

// compareObjects compares every object of the installation that the settings ask for with the cluster's.
func (l *look) compareObjects(ctx context.Context) {
	wanted, err := l.wantedObjects()
	if err != nil {
		l.unreadable(status.PartInstallation, status.CheckObjects, "the manifests of this plugin", err)
		return
	}
	live, errs := make([]*unstructured.Unstructured, len(wanted)), make([]error, len(wanted))
	var group errgroup.Group
	group.SetLimit(readers)
	for i := range wanted {
		group.Go(func() error {
			live[i], errs[i] = l.readObject(ctx, wanted[i])
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	good := 0
	unread := map[string][]string{} // by kind
	for i := range wanted {
		if IsForbidden(errs[i]) && wanted[i].GetKind() == "Secret" {
			continue // nobody needs to read it for this: the certificate's check says so
		}
		if err := errs[i]; err != nil && !apierrors.IsNotFound(err) {
			what := gvrOf(wanted[i]).Resource + ": " + reason(err)
			unread[what] = append(unread[what], wanted[i].GetName())
			continue
		}
		if checks := l.objectChecks(wanted[i], live[i]); len(checks) > 0 {
			l.status.Checks = append(l.status.Checks, checks...)
			continue
		}
		good++
	}
	for what, names := range unread {
		l.add(status.Check{
			Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Unknown,
			Message: what + " (" + fewOf(names) + ")", Next: "ask a cluster administrator for the permission to get them",
		})
	}
	l.goodObjects(good)
}

func (l *look) goodObjects(good int) {
	switch {
	case good == 0:
	case l.known:
		l.pass(status.PartInstallation, status.CheckObjects, "%d objects are as enable makes them", good)
	default:
		l.pass(status.PartInstallation, status.CheckObjects, "%d objects are there", good)
		l.add(status.Check{
			Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Unknown,
			Message: "how the objects should be cannot be told without the settings",
		})
	}
}

// reason says in a few words why something was not read.
func reason(err error) string {
	if IsForbidden(err) {
		return "you may not read them"
	}
	return err.Error()
}

// wantedObjects renders the installation, without the settings.
func (l *look) wantedObjects() ([]*unstructured.Unstructured, error) {
	s := settings.Default()
	if l.known {
		s = l.settings
	}
	objects, err := manifests.Render(l.renderOptions(s))
	if err != nil {
		return nil, err
	}
	var wanted []*unstructured.Unstructured
	for _, object := range objects {
		u, err := toUnstructured(object)
		if err != nil {
			return nil, err
		}
		if !isSettings(u) {
			wanted = append(wanted, u)
		}
	}
	return wanted, nil
}

// renderOptions take over from the Deployment where its images are from and which version they are, which have checks of their
// own, and Tekton's account where Tekton's own Deployment cannot be read.
func (l *look) renderOptions(s settings.Settings) manifests.Options {
	account := l.account
	if d := l.deployment.live; d != nil && account == "" && len(d.Spec.Template.Spec.Containers) > 0 {
		account = valueOfEnv(d.Spec.Template.Spec.Containers[0], manifests.EnvTektonAccount)
	}
	return manifests.Options{
		TektonNamespace: l.status.Environment.TektonNamespace, TektonAccount: account,
		Registry: l.registry, Version: l.deployment.version, Settings: s,
	}
}

// readObject reads the cluster's object of the same kind and name.
func (l *look) readObject(ctx context.Context, like *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return resourceOf(l.Dynamic, like).Get(ctx, like.GetName(), metav1.GetOptions{})
}

func webhooksNamed(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	u.SetName(name)
	return u
}

// objectChecks says what is wrong with an object, nothing if it is as it should be. live is nil if there is none.
func (l *look) objectChecks(wanted, live *unstructured.Unstructured) []status.Check {
	object := nameOf(wanted)
	check := status.Check{
		Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Fail, Object: object, Next: l.enable(),
	}
	switch {
	case wanted.GetKind() == "Deployment" && !l.deployment.found:
		return nil // that the add-on is not there is told already, and without it nothing names the images
	case live == nil:
		check.Message = "is missing"
		return []status.Check{l.ofVersion(check)}
	case live.GetDeletionTimestamp() != nil:
		check.Message = "is being deleted"
		return []status.Check{check}
	case !l.known:
		return nil
	}
	checks := l.unserved(wanted, live)
	differences := compareObject(wanted, live)
	for i, d := range differences {
		c := check
		c.Message, c.Field, c.Expected, c.Got = "was changed", d.path, d.expected, d.got
		if i == maxDifferences-1 && len(differences) > maxDifferences {
			c.Message = fmt.Sprintf("was changed in this and %d more fields", len(differences)-maxDifferences)
		}
		if tuned(wanted.GetKind(), d.path) {
			c.Status = verify.Warn
		}
		checks = append(checks, l.ofVersion(c))
		if i == maxDifferences-1 {
			break
		}
	}
	return checks
}

// ofVersion takes the edge off a check that compares with another version's manifests: what differs may belong to it.
func (l *look) ofVersion(c status.Check) status.Check {
	if l.deployment.found && !l.sameVersion && c.Status == verify.Fail {
		c.Status = verify.Unknown
		c.Message += fmt.Sprintf(", compared with version %s; the add-on is %s, of which this plugin does not know how it should be",
			l.options.Version, cmp.Or(l.deployment.version, "of unknown version"))
		c.Next = "use the plugin of the add-on's version, or bring the add-on to this one: " + l.enable()
	}
	return c
}

// unserved tells webhooks without a certificate authority, and takes the authorities out of both: they are the add-on's.
func (l *look) unserved(wanted, live *unstructured.Unstructured) []status.Check {
	if !isWebhooks(wanted) {
		return nil
	}
	var without []string
	for _, webhook := range webhooksOf(live) {
		name, _ := webhook["name"].(string)
		authority, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
		if authority == "" {
			without = append(without, name)
		}
		unstructured.RemoveNestedField(webhook, "clientConfig", "caBundle")
	}
	if len(without) == 0 {
		return nil
	}
	return []status.Check{{
		Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Fail, Object: nameOf(wanted),
		Field: "clientConfig.caBundle", Expected: "the add-on's certificate authority", Got: "none in " + fewOf(without),
		Message: "cannot be called", Next: "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
	}}
}

// tuned reports whether a field may well be what the cluster's administrators want it to be: nothing that signing or enforcement
// rests on depends on it.
func tuned(kind, path string) bool {
	if kind == "PodDisruptionBudget" || kind == "PriorityClass" || kind == "Namespace" || strings.HasPrefix(path, "metadata.labels") {
		return true
	}
	if kind != "Deployment" {
		return false
	}
	return slices.ContainsFunc([]string{
		"spec.replicas", "spec.strategy", "spec.minReadySeconds", "spec.template.spec.affinity", "spec.template.spec.nodeSelector",
		"spec.template.spec.topologySpreadConstraints", "spec.template.spec.priorityClassName",
		"spec.template.spec.terminationGracePeriodSeconds", "spec.template.spec.containers[controller].resources",
	}, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func nameOf(u *unstructured.Unstructured) *status.Object {
	return &status.Object{
		Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(),
	}
}
