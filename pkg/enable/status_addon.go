// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// addOnDeployment is the Deployment of the add-on, as far as it could be read.
type addOnDeployment struct {
	found   bool
	err     error // other than that there is none
	live    *appsv1.Deployment
	version string // tag of the controller's image
}

// readAddOn reads the Deployment and what its images tell: where they are from, and which version they are.
func (l *look) readAddOn(ctx context.Context) {
	d, err := l.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Controller, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		l.deployment.err = err
		return
	}
	addOn := &status.AddOn{
		Namespace: d.Namespace, Version: d.Labels[manifests.LabelVersion], Replicas: 1,
		Available: int(d.Status.AvailableReplicas), Updated: int(d.Status.UpdatedReplicas),
	}
	if d.Spec.Replicas != nil {
		addOn.Replicas = int(*d.Spec.Replicas)
	}
	if containers := d.Spec.Template.Spec.Containers; len(containers) > 0 {
		addOn.ControllerImage = containers[0].Image
		addOn.SignerImage = valueOfEnv(containers[0], manifests.EnvSignerImage)
	}
	l.status.AddOn = addOn
	l.registry, l.deployment.version = splitImage(addOn.ControllerImage, "/controller")
	l.deployment.found, l.deployment.live = true, d
	l.sameVersion = l.deployment.version == l.options.Version
}

func valueOfEnv(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// splitImage takes REGISTRY/name:TAG apart, also with a digest behind the tag.
func splitImage(image, name string) (registry, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image, tag = image[:i], image[i+1:]
	}
	return strings.TrimSuffix(image, name), tag
}

// lookAtAddOn checks the health of the add-on's parts.
func (l *look) lookAtAddOn(ctx context.Context) {
	switch {
	case l.deployment.err != nil:
		l.unreadable(status.PartAddOn, status.CheckDeployment, own("apps", "Deployment", manifests.Controller).String(), l.deployment.err)
	case !l.deployment.found:
		l.add(status.Check{
			Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Fail,
			Object: own("apps", "Deployment", manifests.Controller), Message: "the add-on is not installed", Next: l.enable(),
		})
	default:
		l.availability(ctx)
		l.version()
		l.images()
		l.reached(ctx)
		l.keeper(ctx)
	}
	l.leader(ctx, manifests.Controller, "no replica records: late verdicts and records wait")
	l.leader(ctx, manifests.Keeper, "no keeper works: grants, certificates and what follows the settings wait")
	l.certificate(ctx)
	l.trustHistory(ctx)
}

// availability looks whether all replicas serve, in the state that was wanted last.
func (l *look) availability(ctx context.Context) {
	d, a := l.deployment.live, l.status.AddOn
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Pass,
		Message: fmt.Sprintf("%d of %d replicas are available", a.Available, a.Replicas),
	}
	if complete, missing := available(d); !complete {
		if missing == "" {
			missing = l.whyUnavailable(ctx, d)
		}
		check.Object = own("apps", "Deployment", manifests.Controller)
		check.Status, check.Expected = verify.Warn, fmt.Sprintf("%d replicas of the latest state, all available", a.Replicas)
		check.Got = fmt.Sprintf("%d updated, %d available: %s", a.Updated, a.Available, missing)
		check.Message = "not all replicas serve"
		check.Next = "kubectl describe pods -n " + manifests.Namespace
		if a.Available == 0 {
			check.Status, check.Message = verify.Fail, "no replica serves: nothing is signed or verified"
		}
	}
	l.add(check)
}

// reached looks whether the API server can call the add-on. Without the right to ask, nobody knows.
func (l *look) reached(ctx context.Context) {
	if l.status.AddOn.Available == 0 {
		return // said already
	}
	if reason := l.unreached(ctx); reason != "" {
		l.add(status.Check{
			Part: status.PartAddOn, ID: status.CheckWebhookPort, Status: verify.Fail, Object: own("", "Service", manifests.Controller),
			Message: reason + ": nothing is signed or verified, every TaskRun waits for the webhooks' timeouts, and where results are enforced none runs",
			Next:    openPort(),
		})
	}
}

// keeper looks whether the keeper runs. That it is missing is found with the other objects.
func (l *look) keeper(ctx context.Context) {
	object := own("apps", "Deployment", manifests.Keeper)
	d, err := l.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Keeper, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		l.unreadable(status.PartAddOn, status.CheckDeployment, object.String(), err)
		return
	}
	complete, missing := available(d)
	if complete {
		l.pass(status.PartAddOn, status.CheckDeployment, "the keeper is available")
		return
	}
	if missing == "" {
		missing = l.whyUnavailable(ctx, d)
	}
	l.add(status.Check{
		Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Warn, Object: object, Message: "the keeper does not run",
		Expected: "1 replica of the latest state, available", Got: missing, Next: "kubectl describe pods -n " + manifests.Namespace,
	})
}

// available reports whether a Deployment is complete, and if not so for want of replicas what else is missing.
func available(d *appsv1.Deployment) (complete bool, missing string) {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	st := d.Status
	switch {
	case want == 0:
		return false, "it is scaled to 0"
	case st.ObservedGeneration < d.Generation:
		return false, "the latest change was not acted on yet"
	case st.UpdatedReplicas >= want && st.AvailableReplicas >= want && st.Replicas == st.UpdatedReplicas:
		return true, ""
	}
	return false, ""
}

// version compares the plugin with the add-on, whose label and images are to agree.
func (l *look) version() {
	_, signer := splitImage(l.status.AddOn.SignerImage, "/signer")
	label, image := l.status.AddOn.Version, l.deployment.version
	check := status.Check{Part: status.PartAddOn, ID: status.CheckVersion, Status: verify.Pass, Message: image}
	switch {
	case label != image || signer != image:
		check.Object, check.Status = own("apps", "Deployment", manifests.Controller), verify.Fail
		check.Message, check.Next = "the add-on's versions disagree", l.enable()
		check.Expected = "one version"
		check.Got = fmt.Sprintf("label %s %q, controller %q, signer %q", manifests.LabelVersion, label, image, signer)
	case !l.sameVersion:
		check.Status = verify.Warn
		check.Expected, check.Got = l.options.Version+", the version of this plugin", image
		check.Message = "the add-on is of another version than this plugin"
		check.Next = fmt.Sprintf("use the plugin of version %s, or bring the add-on to %s: %s", image, l.options.Version, l.enable())
	}
	l.add(check)
}

// images says where the images come from if that is not where they are published. Nobody but the user knows whether they should.
func (l *look) images() {
	if l.registry != manifests.DefaultRegistry {
		l.note(status.PartAddOn, status.CheckImages, "from %s, and not from %s, where releases are published", l.registry, manifests.DefaultRegistry)
	}
}

// leaderless is how old the last renewal of the lease may be: it lasts 15 s, and clocks may differ.
const leaderless = 2 * time.Minute

// leader looks who reconciles, by the Lease of a Deployment's name. idle is what it means that nobody does.
func (l *look) leader(ctx context.Context, name, idle string) {
	object := own("coordination.k8s.io", "Lease", name)
	lease, err := l.Kube.CoordinationV1().Leases(manifests.Namespace).Get(ctx, name, metav1.GetOptions{})
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckLeader, Status: verify.Fail, Object: object,
		Message: idle,
		Next:    "kubectl logs -n " + manifests.Namespace + " deployment/" + name,
	}
	switch {
	case apierrors.IsNotFound(err):
		check.Expected, check.Got = "a Lease", "none"
	case err != nil:
		l.unreadable(status.PartAddOn, status.CheckLeader, object.String(), err)
		return
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil:
		check.Expected, check.Got = "a holder", "none"
	default:
		renewed, stored := lease.Spec.RenewTime.Time, storedAt(lease)
		if !stored.IsZero() {
			l.clock(renewed.Sub(stored))
			renewed = stored
		}
		if l.options.Now().Sub(renewed) > leaderless {
			check.Expected = "renewed less than " + leaderless.String() + " ago"
			check.Got = "renewed last at " + timeOf(renewed) + " by " + *lease.Spec.HolderIdentity
			break
		}
		l.pass(status.PartAddOn, status.CheckLeader, "%s", *lease.Spec.HolderIdentity)
		return
	}
	l.add(check)
}

// storedAt returns when the API server stored the object last, by its own clock; zero if it does not say.
func storedAt(object metav1.Object) time.Time {
	var last time.Time
	for _, f := range object.GetManagedFields() {
		if f.Time != nil && f.Time.After(last) {
			last = f.Time.Time
		}
	}
	return last
}

// clockTolerance is how far the clock of the replica that leads may be from that of the API server, which stores whole seconds.
const clockTolerance = 30 * time.Second

// clock compares the clock of the replica that leads with that of the API server: it renews the Lease by its own. One that
// is too far behind takes every token for one from the future.
func (l *look) clock(ahead time.Duration) {
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckClock, Status: verify.Pass, Message: "the leader's clock is that of the API server",
	}
	if ahead.Abs() > clockTolerance {
		where := "ahead"
		if ahead < 0 {
			where = "behind"
		}
		check.Status, check.Message = verify.Warn, "the leader's clock is not that of the API server"
		check.Expected, check.Got = "at most "+clockTolerance.String()+" apart", ahead.Abs().Round(time.Second).String()+" "+where
		check.Next = "set the clocks of the nodes: kubectl get pods -n " + manifests.Namespace + " -o wide names them"
	}
	if ahead < -verify.DefaultClockSkew {
		check.Status, check.Message = verify.Fail, "the leader's clock is behind: by it, tokens are from the future, and no TaskRun is judged"
	}
	l.add(check)
}

func timeOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// historyAge is how old the last sighting of a key in use may be: the add-on stores it about hourly.
const historyAge = 2 * time.Hour

// trustHistory looks whether the keys of the cluster are kept for later verification.
func (l *look) trustHistory(ctx context.Context) {
	list, err := l.Kube.CoreV1().ConfigMaps(manifests.Namespace).List(ctx, metav1.ListOptions{LabelSelector: ours})
	if err != nil {
		l.unreadable(status.PartAddOn, status.CheckTrustHistory, "the ConfigMaps of namespace "+manifests.Namespace, err)
		return
	}
	cluster, err := l.Kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		l.unreadable(status.PartAddOn, status.CheckTrustHistory, "namespace "+metav1.NamespaceSystem+", whose UID names the cluster", err)
		return
	}
	history, problems := trust.ReadHistory(list.Items, string(cluster.UID))
	problems = append(problems, history.DropFuture(l.options.Now())...)
	for _, problem := range problems {
		l.add(status.Check{
			Part: status.PartAddOn, ID: status.CheckTrustHistory, Status: verify.Warn,
			Message: "a part of the trust history is not used: " + problem.Error(),
		})
	}
	l.add(l.historyCheck(history))
}

func (l *look) historyCheck(history trust.History) status.Check {
	keys, last := 0, time.Time{}
	for _, sightings := range history {
		keys++
		for _, s := range sightings {
			if s.LastSeen.After(last) {
				last = s.LastSeen.Time
			}
		}
	}
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckTrustHistory, Status: verify.Fail,
		Message: "the cluster's keys are not kept: what they signed cannot be verified once they are replaced",
		Next:    "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Controller,
	}
	switch {
	case keys == 0:
		check.Expected, check.Got = "the keys of the cluster in ConfigMap "+trust.HistoryName(1), "none"
	case l.options.Now().Sub(last) > historyAge:
		check.Expected, check.Got = "keys seen less than "+historyAge.String()+" ago", "last seen at "+timeOf(last)
	default:
		check.Status, check.Next = verify.Pass, ""
		check.Message = fmt.Sprintf("%d of the cluster's keys, last seen at %s", keys, timeOf(last))
	}
	return check
}
