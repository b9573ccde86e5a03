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
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// maxProbes bounds the pods that prove, at the same time, that nodes get the signer.
const maxProbes = 8

// pullProbe is one such pod: it has the signer in the way in which pods of TaskRuns will.
type pullProbe struct {
	kind     nodeKind
	place    pullPlace
	image    string
	byVolume bool // the signer comes as an image volume
}

func (p pullProbe) String() string {
	return fmt.Sprintf("%s in namespace %s", p.kind, p.place.namespace)
}

// nodeKind stands for the nodes that get images alike.
type nodeKind struct {
	name    string // platform and container runtime
	node    string // that stands for them; empty: whichever the scheduler takes
	tainted bool   // no node of the kind takes pods as a matter of course
}

func (k nodeKind) String() string {
	if k.node == "" {
		return "a node"
	}
	return fmt.Sprintf("%s (node %s)", k.name, k.node)
}

// pullPlace stands for the namespaces whose pods have the same pull secrets.
type pullPlace struct {
	namespace string
	secrets   []string
	own       bool // some of them are the service account's own, which the namespace's editors choose
}

// proveSigner starts pods that show whether nodes get the signer, before anything is changed: no TaskRun is to wait for an image that is
// not to be had. An error is the proof that some do not. What could not be shown is told to progress. It returns the namespaces which the
// add-on has left alone since a pod did not start there, and need not any longer.
func (p Plan) proveSigner(ctx context.Context, c Clients, progress Progress) (healed []string, err error) {
	if !backends.Of(p.Settings.Backend).Signs {
		return nil, nil
	}
	before, err := delivery.Read(ctx, c.Kube)
	if err != nil {
		return nil, err
	}
	stopped := map[string]bool{}
	for _, e := range before.Entries() {
		if e.Source != delivery.Start {
			continue
		}
		stopped[e.Namespace] = e.Image == p.SignerImage
		if !stopped[e.Namespace] { // of another image it says nothing
			healed = append(healed, e.Namespace)
		}
	}
	probes, doubts, err := p.pullProbes(ctx, c, stopped)
	if err != nil {
		return nil, err
	}
	for _, doubt := range doubts {
		progress("not proven: %s", doubt)
	}
	if len(probes) > 0 {
		progress("trying whether nodes get the signer's image %s: %d short pods", p.SignerImage, len(probes))
	}
	failures, say, started := make([]string, len(probes)), serially(progress), make([]bool, len(probes))
	one := func(i int) {
		failure, doubt := c.try(ctx, probes[i])
		switch {
		case failure != "" && !probes[i].kind.tainted:
			failures[i] = fmt.Sprintf("%s: %s", probes[i], failure)
		case cmp.Or(failure, doubt) != "":
			say("not proven that nodes get the signer: %s: %s", probes[i], cmp.Or(failure, doubt))
		default:
			started[i] = true
			say("nodes get the signer: %s", probes[i])
		}
	}
	failed := func() bool { return slices.ContainsFunc(failures, func(f string) bool { return f != "" }) }
	for first := 0; first < len(probes) && !failed() && ctx.Err() == nil; first += maxProbes {
		var pods sync.WaitGroup
		for i := first; i < min(first+maxProbes, len(probes)); i++ {
			pods.Go(func() { one(i) })
		}
		pods.Wait()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("interrupted while trying whether nodes get the signer's image: %w; nothing was changed", context.Cause(ctx))
	}
	reached := map[nodeKind]bool{}
	for i, probe := range probes {
		reached[probe.kind] = reached[probe.kind] || started[i]
		if namespace := probe.place.namespace; started[i] && stopped[namespace] {
			healed = append(healed, namespace)
		}
	}
	for i, probe := range probes { // what the editors of one namespace bring about keeps nobody else from signing
		if failures[i] != "" && probe.place.own && reached[probe.kind] {
			progress("pods of namespace %s do not get the signer with the pull secrets of its service account: %s", probe.place.namespace, failures[i])
			failures[i] = ""
		}
	}
	failures = slices.DeleteFunc(failures, func(f string) bool { return f == "" })
	if len(failures) == 0 {
		return healed, nil
	}
	return nil, fmt.Errorf("nodes do not get the signer's image %s, and TaskRuns would hang: %s. Nothing was changed. %s",
		p.SignerImage, strings.Join(failures, "; "), letPull)
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

// letPull is the way out where nodes do not get the signer's image.
const letPull = "Let the nodes pull it: with a Secret for the registry that the namespaces have (enable --pull-secret), or from a registry " +
	"that needs none or a mirror (enable --registry). Or leave namespaces out (enable --namespaces or --namespace-selector)"

// pullProbes returns the pods to try: each kind of node and each set of pull secrets once at least, not each with each. doubts say what
// is left out.
func (p Plan) pullProbes(ctx context.Context, c Clients, stopped map[string]bool) (probes []pullProbe, doubts []string, err error) {
	kinds, byVolume, doubt, err := p.nodeKinds(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	doubts = appendText(doubts, doubt)
	places, doubt, err := p.pullPlaces(ctx, c, stopped)
	if err != nil {
		return nil, nil, err
	}
	doubts = appendText(doubts, doubt)
	if len(kinds) == 0 || len(places) == 0 {
		return nil, doubts, nil
	}
	n, limit := max(len(kinds), len(places)), maxProbes
	for _, place := range places[min(limit, len(places)):] { // those that were stopped come first, and are all tried
		if stopped[place.namespace] {
			limit++
		}
	}
	if n > limit {
		doubts = append(doubts, fmt.Sprintf("there are %d kinds of nodes and %d sets of pull secrets, of which %d are tried", len(kinds), len(places), limit))
		n = limit
	}
	for i := range n {
		probes = append(probes, pullProbe{
			kind: kinds[i%len(kinds)], place: places[i%len(places)], image: p.SignerImage, byVolume: byVolume,
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

// nodeKinds returns the kinds of nodes that may run TaskRuns, and whether pods on them get the signer by an image volume.
func (p Plan) nodeKinds(ctx context.Context, c Clients) (kinds []nodeKind, byVolume bool, doubt string, err error) {
	byVolume = p.Settings.Delivery == settings.DeliveryImage
	list, err := c.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if IsForbidden(err) {
		return []nodeKind{{}}, byVolume, "you may not list nodes: the signer's image is tried on one of them", nil
	}
	if err != nil {
		return nil, false, "", fmt.Errorf("listing nodes: %w", err)
	}
	all := make([]*corev1.Node, len(list.Items))
	found := map[string]nodeKind{}
	for i := range list.Items {
		node := &list.Items[i]
		all[i] = node
		if node.Spec.Unschedulable || node.Status.NodeInfo.OperatingSystem == string(corev1.Windows) || !isReady(node) {
			continue
		}
		kind := nodeKind{name: nameKind(node.Status.NodeInfo), node: node.Name, tainted: isTainted(node)}
		if before, ok := found[kind.name]; !ok || before.tainted && !kind.tainted {
			found[kind.name] = kind
		}
	}
	if p.Settings.Delivery == settings.DeliveryAuto {
		byVolume = delivery.LacksImageVolumes(p.Environment.KubernetesVersion, all) == ""
	}
	if len(found) == 0 {
		doubt = "no node is ready: whether nodes get the signer's image shows when TaskRuns start"
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		kinds = append(kinds, found[name])
	}
	return kinds, byVolume, doubt, nil
}

// nameKind names platform and runtime of a node, the runtime by the first two numbers of its version.
func nameKind(info corev1.NodeSystemInfo) string {
	runtime, version, _ := strings.Cut(info.ContainerRuntimeVersion, "://")
	numbers := strings.SplitN(version, ".", 3)
	return fmt.Sprintf("%s/%s with %s %s", info.OperatingSystem, info.Architecture, runtime, strings.Join(numbers[:min(len(numbers), 2)], "."))
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// isTainted reports whether ordinary pods keep away from a node.
func isTainted(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
}

// defaultAccount is the service account of pods that name none.
const defaultAccount = "default"

// pullPlaces returns a namespace in scope for each set of pull secrets that pods of its default service account have, and first each
// that was stopped.
func (p Plan) pullPlaces(ctx context.Context, c Clients, stopped map[string]bool) (places []pullPlace, doubt string, err error) {
	list, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("listing namespaces: %w", err)
	}
	accounts, err := c.Kube.CoreV1().ServiceAccounts(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + defaultAccount})
	switch {
	case IsForbidden(err):
		accounts, doubt = &corev1.ServiceAccountList{}, "you may not list service accounts: the signer's image is tried without their pull secrets"
	case err != nil:
		return nil, "", fmt.Errorf("listing service accounts: %w", err)
	}
	own := map[string][]string{}
	for _, account := range accounts.Items {
		if account.Name == defaultAccount {
			own[account.Namespace] = secretNames(account.ImagePullSecrets)
		}
	}
	inScope, seen := p.Settings.Scope.Matcher(settings.Reserved(p.Environment.TektonNamespace)), map[string]bool{}
	for _, ns := range list.Items {
		if ns.DeletionTimestamp != nil || !inScope(ns.Labels) {
			continue
		}
		secrets := union(own[ns.Name], p.Settings.PullSecrets)
		if stopped[ns.Name] {
			places = slices.Insert(places, 0, pullPlace{ns.Name, secrets, len(own[ns.Name]) > 0})
			continue
		}
		if key := strings.Join(secrets, ","); !seen[key] {
			seen[key] = true
			places = append(places, pullPlace{ns.Name, secrets, len(own[ns.Name]) > 0})
		}
	}
	if len(places) == 0 {
		doubt = "no namespace is in scope yet: whether nodes get the signer's image shows when TaskRuns start"
	}
	return places, doubt, nil
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

// Patience with one probe. The kubelet tries again after ten seconds, so that one failure of a registry is not the last word.
const (
	probePatience = 90 * time.Second
	probeRetry    = 15 * time.Second
	probeLifetime = 2 * time.Minute // of the pod, if nobody is left to delete it
	probeRemoval  = 15 * time.Second
)

// try runs the pod of a probe and deletes it. failure says why the node does not get the signer, doubt why that is not known. Both are
// empty where it does.
func (c Clients) try(ctx context.Context, p pullProbe) (failure, doubt string) {
	pods := c.Kube.CoreV1().Pods(p.place.namespace)
	pod, err := pods.Create(ctx, p.pod(), metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil { // a quota, Pod Security, another policy, or a missing permission: each keeps TaskRuns from nothing
		return "", fmt.Sprintf("the pod that would show it was refused: %v", err)
	}
	name := pod.Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRemoval)
		defer cancel()
		now := int64(0)
		if err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && doubt == "" {
			doubt = fmt.Sprintf("delete pod %s, which could not be: %v", name, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	var failing time.Time
	for {
		switch pod.Status.Phase {
		case corev1.PodSucceeded:
			return "", ""
		case corev1.PodFailed:
			return whyFailed(pod)
		case corev1.PodRunning:
			failure, failing = "", time.Time{}
		}
		if _, why := delivery.Stuck(pod); why != "" {
			if failing.IsZero() {
				failing = time.Now()
			}
			if time.Since(failing) >= probeRetry {
				return why, ""
			}
			failure = why
		}
		select {
		case <-ctx.Done():
			return failure, "the pod did not start in time: " + whyPending(pod)
		case <-time.After(pollInterval):
		}
		latest, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return failure, fmt.Sprintf("the pod cannot be read: %v", err)
		}
		pod = latest
	}
}

// whyFailed says what made the pod fail: that the signer does not run there, or something else.
func whyFailed(pod *corev1.Pod) (failure, doubt string) {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		t := s.State.Terminated
		if t == nil || t.ExitCode == 0 {
			continue
		}
		why := fmt.Sprintf("the signer does not run: %s, exit code %d: %s", t.Reason, t.ExitCode, t.Message)
		if t.Reason == "StartError" || t.Reason == "ContainerCannotRun" {
			return why, ""
		}
		return "", why
	}
	return "", fmt.Sprintf("the pod failed: %s: %s", pod.Status.Reason, pod.Status.Message)
}

// whyPending says what a pod waits for.
func whyPending(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + c.Message
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "PodInitializing" {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return string(pod.Status.Phase)
}
