// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// maxProbes is how many pods at the same time prove that nodes get the signer.
const maxProbes = 8

// pullProbe is one such pod. It gets the signer in the same way as the pods of TaskRuns will.
type pullProbe struct {
	kind     nodeKind
	place    pullPlace
	image    string
	byVolume bool // the signer comes as an image volume
}

func (p pullProbe) String() string {
	return fmt.Sprintf("%s in namespace %s", p.kind, p.place.namespace)
}

// nodeKind represents nodes that get images in the same way.
type nodeKind struct {
	name    string // platform and container runtime
	node    string // one of them; empty: any that the scheduler takes
	tainted bool   // no node of the kind takes ordinary pods
}

func (k nodeKind) String() string {
	if k.node == "" {
		return "a node"
	}
	return fmt.Sprintf("%s (node %s)", k.name, k.node)
}

// pullPlace represents namespaces whose pods have the same pull secrets.
type pullPlace struct {
	namespace string
	secrets   []string
	own       bool // the service account has some of them, which the namespace's editors choose
}

// ProveSigner starts pods that show whether nodes get the signer, before anything is changed: no TaskRun should wait
// for an image that cannot be pulled. An error is the proof that some nodes do not get it. progress is called for
// what could not be shown. It returns the namespaces that the add-on has left alone since a pod did not start there,
// and that it need not leave alone any longer.
func (p Plan) ProveSigner(ctx context.Context, c Clients, progress Progress) (healed []string, err error) {
	if !backends.Injects(p.Settings) {
		return nil, nil
	}
	before, err := delivery.Read(ctx, c.Kube)
	if err != nil {
		return nil, err
	}
	proof := &pullProof{Clients: c, plan: p, progress: serially(progress), stopped: map[string]bool{}}
	healed = proof.stoppedBefore(before)
	probes, doubts, err := proof.probes(ctx)
	if err != nil {
		return nil, err
	}
	for _, doubt := range doubts {
		progress("not proven: %s", doubt)
	}
	if len(probes) > 0 {
		progress("trying whether nodes get the signer's image %s: %d short pods", p.SignerImage, len(probes))
	}
	outcomes := proof.tryAll(ctx, probes)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("interrupted while trying whether nodes get the signer's image: %w; nothing was changed",
			context.Cause(ctx))
	}
	for _, o := range outcomes {
		if namespace := o.probe.place.namespace; o.started && proof.stopped[namespace] {
			healed = append(healed, namespace)
		}
	}
	failures := proof.failures(outcomes)
	if len(failures) == 0 {
		return healed, nil
	}
	return nil, fmt.Errorf("nodes do not get the signer's image %s, and TaskRuns would hang: %s. Nothing was changed. %s",
		p.SignerImage, strings.Join(failures, "; "), letPull)
}

// pullProof shows whether nodes get the signer of a plan.
type pullProof struct {
	Clients
	plan     Plan
	progress Progress
	stopped  map[string]bool // namespaces in which a pod with the plan's image did not start
}

// stoppedBefore records the namespaces in which the plan's image did not start, and returns those in which another
// image did not: that one is irrelevant now.
func (p *pullProof) stoppedBefore(before delivery.Table) (healed []string) {
	for _, e := range before.Entries() {
		switch {
		case e.Source != delivery.Start:
		case e.Image == p.plan.SignerImage:
			p.stopped[e.Namespace] = true
		default:
			healed = append(healed, e.Namespace)
		}
	}
	return healed
}

// outcome is the outcome of one probe. It is undecided where both fields are empty.
type outcome struct {
	probe   pullProbe
	started bool
	failure string
}

// tryAll tries the probes, several at once, until one fails.
func (p *pullProof) tryAll(ctx context.Context, probes []pullProbe) []outcome {
	outcomes := make([]outcome, len(probes))
	failed := func(o outcome) bool { return o.failure != "" }
	for first := 0; first < len(probes) && !slices.ContainsFunc(outcomes, failed) && ctx.Err() == nil; first += maxProbes {
		var pods sync.WaitGroup
		for i := first; i < min(first+maxProbes, len(probes)); i++ {
			pods.Go(func() { outcomes[i] = p.tryOne(ctx, probes[i]) })
		}
		pods.Wait()
	}
	return outcomes
}

// tryOne tries one probe. On a node that takes no ordinary pods a failure proves nothing.
func (p *pullProof) tryOne(ctx context.Context, probe pullProbe) outcome {
	failure, doubt := try(ctx, p.Kube, probe)
	switch {
	case failure != "" && !probe.kind.tainted:
		return outcome{probe: probe, failure: failure}
	case cmp.Or(failure, doubt) != "":
		p.progress("not proven that nodes get the signer: %s: %s", probe, cmp.Or(failure, doubt))
		return outcome{probe: probe}
	}
	p.progress("nodes get the signer: %s", probe)
	return outcome{probe: probe, started: true}
}

// failures lists the failures. A failure with the pull secrets of a namespace's own service account does not count if
// the same nodes get the signer elsewhere: the editors of one namespace must not keep all others from signing.
func (p *pullProof) failures(outcomes []outcome) []string {
	reached := map[nodeKind]bool{}
	for _, o := range outcomes {
		reached[o.probe.kind] = reached[o.probe.kind] || o.started
	}
	var failures []string
	for _, o := range outcomes {
		switch {
		case o.failure == "":
		case o.probe.place.own && reached[o.probe.kind]:
			p.progress("pods of namespace %s do not get the signer with the pull secrets of its service account: %s: %s",
				o.probe.place.namespace, o.probe, o.failure)
		default:
			failures = append(failures, fmt.Sprintf("%s: %s", o.probe, o.failure))
		}
	}
	return failures
}

// serially lets several goroutines report progress.
func serially(progress Progress) Progress {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		progress(format, args...)
	}
}

// letPull is what the user can do where nodes do not get the signer's image.
const letPull = "Let the nodes pull it: with a Secret for the registry that the namespaces have " +
	"(enable --pull-secret), or from a registry that needs none or a mirror (enable --registry). " +
	"Or leave namespaces out (enable --namespaces or --namespace-selector)"

// probes returns the pods to try: each kind of node and each set of pull secrets at least once, but not every
// combination. doubts lists what is left out.
func (p *pullProof) probes(ctx context.Context) (probes []pullProbe, doubts []string, err error) {
	kinds, byVolume, doubt, err := p.nodeKinds(ctx)
	if err != nil {
		return nil, nil, err
	}
	doubts = appendText(doubts, doubt)
	places, doubt, err := p.places(ctx)
	if err != nil {
		return nil, nil, err
	}
	doubts = appendText(doubts, doubt)
	if len(kinds) == 0 || len(places) == 0 {
		return nil, doubts, nil
	}
	n, limit := max(len(kinds), len(places)), maxProbes
	for _, place := range places[min(limit, len(places)):] { // those that were stopped come first, and are all tried
		if p.stopped[place.namespace] {
			limit++
		}
	}
	if n > limit {
		doubts = append(doubts, fmt.Sprintf("there are %d kinds of nodes and %d sets of pull secrets, of which %d are tried",
			len(kinds), len(places), limit))
		n = limit
	}
	for i := range n {
		probes = append(probes, pullProbe{
			kind: kinds[i%len(kinds)], place: places[i%len(places)], image: p.plan.SignerImage, byVolume: byVolume,
		})
	}
	return probes, doubts, nil
}

func appendText(texts []string, text string) []string {
	if text == "" {
		return texts
	}
	return append(texts, text)
}

// nodeKinds returns the kinds of nodes that may run TaskRuns, and whether pods on them get the signer by an image
// volume.
func (p *pullProof) nodeKinds(ctx context.Context) (kinds []nodeKind, byVolume bool, doubt string, err error) {
	byVolume = p.plan.Settings.Delivery == settings.DeliveryImage
	list, err := p.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if IsForbidden(err) {
		return []nodeKind{{}}, byVolume, "you may not list nodes: the signer's image is tried on one of them", nil
	}
	if err != nil {
		return nil, false, "", fmt.Errorf("listing nodes: %w", err)
	}
	all := make([]*corev1.Node, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	if p.plan.Settings.Delivery == settings.DeliveryAuto {
		byVolume = delivery.LacksImageVolumes(p.plan.Environment.KubernetesVersion, all) == ""
	}
	if kinds = kindsOf(all); len(kinds) == 0 {
		doubt = "no node is ready: whether nodes get the signer's image shows when TaskRuns start"
	}
	return kinds, byVolume, doubt, nil
}

// kindsOf returns the kinds of the nodes that take Linux pods, by name. It prefers nodes that take ordinary pods.
func kindsOf(nodes []*corev1.Node) []nodeKind {
	found := map[string]nodeKind{}
	for _, node := range nodes {
		info := node.Status.NodeInfo
		if node.Spec.Unschedulable || info.OperatingSystem == string(corev1.Windows) || !isReady(node) {
			continue
		}
		kind := nodeKind{name: nameKind(info), node: node.Name, tainted: isTainted(node)}
		if before, ok := found[kind.name]; !ok || before.tainted && !kind.tainted {
			found[kind.name] = kind
		}
	}
	var kinds []nodeKind
	for _, name := range slices.Sorted(maps.Keys(found)) {
		kinds = append(kinds, found[name])
	}
	return kinds
}

// nameKind names platform and runtime of a node, with the first two numbers of the runtime's version.
func nameKind(info corev1.NodeSystemInfo) string {
	runtime, version, _ := strings.Cut(info.ContainerRuntimeVersion, "://")
	numbers := strings.SplitN(version, ".", 3)
	return fmt.Sprintf("%s/%s with %s %s", info.OperatingSystem, info.Architecture, runtime,
		strings.Join(numbers[:min(len(numbers), 2)], "."))
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// isTainted reports whether a node takes no ordinary pods.
func isTainted(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect != corev1.TaintEffectPreferNoSchedule
	})
}

// defaultAccount is the service account of pods that name none.
const defaultAccount = "default"

// places returns a namespace in scope for each set of pull secrets that pods of its default service account have.
// Namespaces in which a pod did not start come first, and are all among them.
func (p *pullProof) places(ctx context.Context) (places []pullPlace, doubt string, err error) {
	list, err := p.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("listing namespaces: %w", err)
	}
	own, doubt, err := p.ownSecrets(ctx)
	if err != nil {
		return nil, "", err
	}
	inScope := p.plan.Settings.Scope.Matcher(settings.Reserved(p.plan.Environment.TektonNamespace))
	seen := map[string]bool{}
	for _, ns := range list.Items {
		if ns.DeletionTimestamp != nil || !inScope(ns.Labels) {
			continue
		}
		place := pullPlace{ns.Name, union(own[ns.Name], p.plan.Settings.PullSecrets), len(own[ns.Name]) > 0}
		if p.stopped[ns.Name] {
			places = slices.Insert(places, 0, place)
			continue
		}
		if key := strings.Join(place.secrets, ","); !seen[key] {
			seen[key] = true
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		doubt = "no namespace is in scope yet: whether nodes get the signer's image shows when TaskRuns start"
	}
	return places, doubt, nil
}

// ownSecrets returns the pull secrets of each namespace's default service account.
func (p *pullProof) ownSecrets(ctx context.Context) (own map[string][]string, doubt string, err error) {
	accounts, err := p.Kube.CoreV1().ServiceAccounts(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{FieldSelector: "metadata.name=" + defaultAccount})
	switch {
	case IsForbidden(err):
		return nil, "you may not list service accounts: the signer's image is tried without their pull secrets", nil
	case err != nil:
		return nil, "", fmt.Errorf("listing service accounts: %w", err)
	}
	own = map[string][]string{}
	for _, account := range accounts.Items {
		if account.Name == defaultAccount {
			own[account.Namespace] = secretNames(account.ImagePullSecrets)
		}
	}
	return own, "", nil
}

func secretNames(secrets []corev1.LocalObjectReference) []string {
	names := make([]string, len(secrets))
	for i, s := range secrets {
		names[i] = s.Name
	}
	return names
}

// union returns the sorted names of both lists.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
