// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"maps"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

const (
	tekton = "system:serviceaccount:openshift-pipelines:the-controller"
	addOn  = "system:serviceaccount:tekton-sign:controller"
)

// asked is a request as policies see it. old and object are nil where a request has none.
type asked struct {
	user, operation, name, subresource string
	dryRun                             bool
	old, object                        any
	mayChangeSettings                  bool
	namespace, resource                string
	groups                             []string
	namespaceLabels                    map[string]string
}

func (a asked) values(t *testing.T) map[string]any {
	t.Helper()
	request := map[string]any{
		"userInfo": map[string]any{"username": a.user, "groups": a.groups}, "operation": a.operation, "name": a.name,
		"subResource": a.subresource, "namespace": a.namespace, "resource": map[string]any{"resource": a.resource},
	}
	if a.dryRun {
		request["dryRun"] = true
	}
	values := map[string]any{
		"request": request, "oldObject": plain(t, a.old), "object": plain(t, a.object),
		"namespaceObject": map[string]any{"metadata": map[string]any{"labels": a.namespaceLabels}},
	}
	if a.mayChangeSettings {
		values["authorizer"] = "//configmaps/openshift-pipelines/config-signing/update"
	}
	return values
}

// plain returns an object as its JSON.
func plain(t *testing.T, object any) any {
	t.Helper()
	if object == nil {
		return nil
	}
	if m, ok := object.(map[string]any); ok {
		return m
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// checkRefusals holds policies, whose names are given one after the other, to what the first that refuses is to show;
// empty: none refuses.
func checkRefusals(t *testing.T, policies string, cases map[string]struct {
	asked asked
	shown string
}) {
	t.Helper()
	checkRefusalsWith(t, testOptions(), policies, cases)
}

func checkRefusalsWith(t *testing.T, o Options, policies string, cases map[string]struct {
	asked asked
	shown string
}) {
	t.Helper()
	objects := render(t, o)
	for name, c := range cases {
		shown := ""
		for policy := range strings.FieldsSeq(policies) {
			if shown == "" {
				_, shown = refusal(t, find[*admissionv1.ValidatingAdmissionPolicy](t, objects, policy), c.asked.values(t))
			}
		}
		if (shown == "") != (c.shown == "") || !strings.Contains(shown, c.shown) {
			t.Errorf("%s: refused with %q, want %q", name, shown, c.shown)
		}
	}
}

// tektonsPod returns the pod of a TaskRun as Tekton makes it, changed.
func tektonsPod(change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: "build-pod",
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "tekton-pipelines", "tekton.dev/taskRun": "build", "tekton.dev/taskRunUID": "u", "team": "a",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "TaskRun", Name: "build", UID: "u"}},
		},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "prepare", Image: "entrypoint"}},
			Containers:     []corev1.Container{{Name: "step-a", Image: "a"}},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func TestTaskRunPodsPolicy(t *testing.T) {
	bare := func(name string, change ...func(*corev1.Pod)) *corev1.Pod {
		return tektonsPod(append([]func(*corev1.Pod){func(p *corev1.Pod) {
			p.Name, p.Labels, p.OwnerReferences = name, nil, nil
		}}, change...)...)
	}
	label := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{key: value} }
	}
	relabel := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = maps.Clone(p.Labels)
			p.Labels[key] = value
		}
	}
	unlabel := func(key string) func(*corev1.Pod) { return func(p *corev1.Pod) { delete(p.Labels, key) } }
	disown := func(p *corev1.Pod) { p.OwnerReferences = nil }
	create := func(user string, pod *corev1.Pod) asked { return asked{user: user, operation: "CREATE", object: pod} }
	update := func(user string, old, pod *corev1.Pod) asked {
		return asked{user: user, operation: "UPDATE", old: old, object: pod}
	}
	dry := create("jane", tektonsPod())
	dry.dryRun = true
	const made, reserved = "a TaskRun as owner, and such pods only " + tekton, "names that end in -pod or -pod-retry"
	const gc = "system:serviceaccount:kube-system:generic-garbage-collector"
	checkRefusals(t, TaskRunPods+" "+TaskRunPodMarks, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton makes it":       {create(tekton, tektonsPod()), ""},
		"a dry run of it":       {dry, ""},
		"the whole pod":         {create("jane", tektonsPod()), reserved},
		"the name alone":        {create("jane", bare("build-pod")), "pod build-pod was not created for jane: " + reserved},
		"the name of a retry":   {create("jane", bare("build-pod-retry12")), reserved},
		"the label alone":       {create("jane", bare("x", label("tekton.dev/taskRun", "build"))), "pod x was not created for jane: it has"},
		"the UID's label alone": {create("jane", bare("x", label("tekton.dev/taskRunUID", "u"))), made},
		"the owner alone":       {create("jane", bare("x", func(p *corev1.Pod) { p.OwnerReferences = tektonsPod().OwnerReferences })), made},
		"an older API's owner": {create("jane", bare("x", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "tekton.dev/v1beta1", Kind: "TaskRun"}}
		})), made},
		"by a Job":               {create("system:serviceaccount:kube-system:job-controller", bare("x-abcde", label("tekton.dev/taskRun", "build"))), made},
		"another Tekton":         {create("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", tektonsPod()), reserved},
		"an ordinary pod":        {create("jane", bare("web-7c9f-x2b4d", label("app", "web"))), ""},
		"a name with pod inside": {create("jane", bare("build-pod-0")), ""},
		"an affinity assistant":  {create("system:serviceaccount:kube-system:statefulset-controller", bare("affinity-assistant-1-0", label("tekton.dev/pipelineRun", "p"))), ""},
		"an owner of another group, which a reader may take for Tekton's": {create("jane", bare("x", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "else.dev/v1", Kind: "TaskRun"}}
		})), made},
		"Tekton changes it":        {update(tekton, tektonsPod(), tektonsPod(relabel("tekton.dev/x", "y"), disown)), ""},
		"a label of one's own":     {update("jane", tektonsPod(), tektonsPod(relabel("team", "b"), relabel("more", "c"))), ""},
		"a Tekton label changed":   {update("jane", tektonsPod(), tektonsPod(relabel("tekton.dev/taskRun", "other"))), "pod build-pod was not changed for jane: the labels tekton.dev/*"},
		"a Tekton label added":     {update("jane", tektonsPod(), tektonsPod(relabel("tekton.dev/pipelineRun", "p"))), "the labels tekton.dev/*"},
		"a Tekton label removed":   {update("jane", tektonsPod(), tektonsPod(unlabel("tekton.dev/taskRunUID"))), "the labels tekton.dev/*"},
		"hidden from Tekton":       {update("jane", tektonsPod(), tektonsPod(unlabel("app.kubernetes.io/managed-by"))), "the labels tekton.dev/*"},
		"a foreign pod labelled":   {update("jane", bare("x"), bare("x", label("tekton.dev/taskRun", "build"))), "the labels tekton.dev/*"},
		"a foreign pod adopted":    {update("jane", bare("x"), bare("x", func(p *corev1.Pod) { p.OwnerReferences = tektonsPod().OwnerReferences })), "the owners of a TaskRun's pod"},
		"disowned":                 {update("jane", tektonsPod(), tektonsPod(disown)), "the owners of a TaskRun's pod are changed only by " + tekton},
		"disowned and unlabelled":  {update("jane", tektonsPod(), bare("build-pod")), "the labels tekton.dev/*"},
		"orphaned by the cluster":  {update(gc, tektonsPod(), tektonsPod(disown)), ""},
		"labelled by the cluster":  {update(gc, tektonsPod(), tektonsPod(relabel("tekton.dev/taskRun", "other"))), "the labels tekton.dev/*"},
		"another image":            {update("jane", tektonsPod(), tektonsPod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" })), "the images of a TaskRun's pod"},
		"another init image":       {update("jane", tektonsPod(), tektonsPod(func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" })), "the images of a TaskRun's pod"},
		"an ordinary pod's image":  {update("jane", bare("x"), bare("x", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "b" })), ""},
		"an ordinary pod labelled": {update("jane", bare("x"), bare("x", label("tekton.dev/pipelineRun", "p"))), ""},
	})
}

// TestTaskRunPodMarksPolicy: what verification believes of a live pod comes from Tekton's controller, where policies
// are standard too.
func TestTaskRunPodMarksPolicy(t *testing.T) {
	marked := tektonsPod(func(p *corev1.Pod) { p.Name = "x" })
	bare := tektonsPod(func(p *corev1.Pod) { p.Labels, p.OwnerReferences = nil, nil })
	adopted := tektonsPod(func(p *corev1.Pod) { p.Labels = nil })
	checkRefusals(t, TaskRunPodMarks, map[string]struct {
		asked asked
		shown string
	}{
		"a marked pod":                {asked{user: "jane", operation: "CREATE", object: marked}, "pod x was not created for jane"},
		"by Tekton":                   {asked{user: tekton, operation: "CREATE", object: marked}, ""},
		"made in advance":             {asked{user: "jane", operation: "CREATE", object: bare}, ""},
		"made in advance and adopted": {asked{user: "jane", operation: "UPDATE", old: bare, object: adopted}, "the owners of a TaskRun's pod"},
		"made in advance and marked":  {asked{user: "jane", operation: "UPDATE", old: bare, object: tektonsPod()}, "the labels tekton.dev/*"},
	})
}

func TestPipelineChildrenPolicy(t *testing.T) {
	child := func(change func(*metav1.ObjectMeta)) map[string]any {
		m := metav1.ObjectMeta{Name: "release-build", Labels: map[string]string{"team": "a"}}
		if change != nil {
			change(&m)
		}
		return map[string]any{"kind": "TaskRun", "metadata": plain(t, &metav1.PartialObjectMetadata{ObjectMeta: m}).(map[string]any)["metadata"]} //nolint:forcetypeassert // a map
	}
	labelled := child(func(m *metav1.ObjectMeta) { m.Labels["tekton.dev/pipelineRun"] = "release" })
	owned := child(func(m *metav1.ObjectMeta) {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: "release", UID: "u"}}
	})
	foreign := child(func(m *metav1.ObjectMeta) {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "evil.dev/v1", Kind: "PipelineRun", Name: "release", UID: "u"}}
	})
	dictating := func(where string) map[string]any {
		pr := child(nil)
		labels := map[string]any{"labels": map[string]any{"tekton.dev/pipelineTask": "build"}}
		spec := map[string]any{"taskRunSpecs": []any{map[string]any{"pipelineTaskName": "use", "metadata": labels}}}
		if where == "finally" {
			spec = map[string]any{"pipelineSpec": map[string]any{"finally": []any{map[string]any{"taskSpec": map[string]any{"metadata": labels}}}}}
		}
		pr["kind"], pr["spec"] = "PipelineRun", spec
		return pr
	}
	relabelled := child(func(m *metav1.ObjectMeta) { m.Labels["team"] = "b" })
	create := func(user string, object any) asked { return asked{user: user, operation: "CREATE", object: object} }
	update := func(user string, old, object any) asked {
		return asked{user: user, operation: "UPDATE", old: old, object: object}
	}
	const gc = "system:serviceaccount:kube-system:generic-garbage-collector"
	checkRefusals(t, PipelineChildren, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton makes it":       {create(tekton, owned), ""},
		"a TaskRun by itself":   {create("jane", child(nil)), ""},
		"with the label":        {create("jane", labelled), "TaskRun release-build was not written for jane: the labels tekton.dev/pipelineRun"},
		"with the owner":        {create("jane", owned), "TaskRun release-build was not written for jane: a PipelineRun is made its owner only by " + tekton},
		"another Tekton":        {create("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", owned), "a PipelineRun is made its owner"},
		"labelled later":        {update("jane", child(nil), labelled), "the labels"},
		"of another group":      {create("jane", foreign), "made its owner"},
		"dictated to Tekton":    {create("jane", dictating("taskRunSpecs")), "leave them out of taskRunSpecs"},
		"dictated by a task":    {create("jane", dictating("finally")), "leave them out of taskRunSpecs"},
		"adopted later":         {update("jane", child(nil), owned), "made its owner"},
		"unlabelled":            {update("jane", labelled, child(nil)), "the labels"},
		"disowned":              {update("jane", owned, child(nil)), "made its owner"},
		"another label":         {update("jane", child(nil), relabelled), ""},
		"orphaned":              {update(gc, owned, child(nil)), ""},
		"adopted by the mantle": {update(gc, child(nil), owned), "made its owner"},
	})
}

func TestPipelineStatusPolicy(t *testing.T) {
	write := func(user, resource, managedBy string) asked {
		spec := map[string]any{}
		if managedBy != "" {
			spec["managedBy"] = managedBy
		}
		return asked{
			user: user, operation: "UPDATE", name: "release", subresource: "status", resource: resource,
			old: map[string]any{"spec": spec}, object: map[string]any{},
		}
	}
	o := testOptions()
	o.Settings.CustomRunControllers = []settings.Account{{Namespace: "approvals", Name: "controller"}}
	const approvals = "system:serviceaccount:approvals:controller"
	checkRefusalsWith(t, o, PipelineStatus, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton":                      {write(tekton, "pipelineruns", ""), ""},
		"a user":                      {write("jane", "pipelineruns", ""), "jane may not write the status of PipelineRun release"},
		"the add-on":                  {write(addOn, "pipelineruns", ""), "may not write the status of PipelineRun"},
		"run by another":              {write("jane", "pipelineruns", "else.dev/controller"), ""},
		"a custom task's controller":  {write(approvals, "customruns", ""), ""},
		"for a PipelineRun":           {write(approvals, "pipelineruns", ""), "may not write the status of PipelineRun"},
		"a user, for a custom task":   {write("jane", "customruns", ""), "jane may not write the status of CustomRun release"},
		"nothing excepts a CustomRun": {write("jane", "customruns", "else.dev/controller"), "--custom-run-controller"},
	})
	checkRefusals(t, PipelineStatus, map[string]struct {
		asked asked
		shown string
	}{"no controller is named": {write(approvals, "customruns", ""), "the settings do not name it"}})
}

func TestManagedByPolicy(t *testing.T) {
	create := func(managedBy any) asked {
		return asked{
			user: "jane", operation: "CREATE", namespace: "release",
			object: map[string]any{"spec": map[string]any{"managedBy": managedBy}},
		}
	}
	o := testOptions()
	o.Settings.ManagedBy = []string{"kueue.x-k8s.io/multikueue"}
	checkRefusalsWith(t, o, ManagedBy, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton":   {create("tekton.dev/pipeline"), ""},
		"nobody":   {asked{user: "jane", operation: "CREATE", object: map[string]any{"spec": map[string]any{}}}, ""},
		"named":    {create("kueue.x-k8s.io/multikueue"), ""},
		"another":  {create("other"), "enable --managed-by other"},
		"an empty": {create(""), "spec.managedBy"},
	})
}

// TestGrantsPolicy: a stolen token of the add-on binds nothing but the grant.
func TestGrantsPolicy(t *testing.T) {
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	bind := func(namespace string, change func(*rbacv1.RoleBinding)) asked {
		grant := Grant(namespace, "fence")
		if change != nil {
			change(grant)
		}
		return asked{
			user: keeper, groups: []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}, operation: "CREATE",
			namespace: namespace, object: grant, namespaceLabels: map[string]string{"team": namespace},
		}
	}
	by := func(a asked, user string, groups ...string) asked { a.user, a.groups = user, groups; return a }
	cases := map[string]struct {
		asked asked
		shown string
	}{
		"the grant":        {bind("ci", nil), ""},
		"suspended":        {bind("ci", func(b *rbacv1.RoleBinding) { b.Subjects = nil }), ""},
		"under any name":   {bind("ci", func(b *rbacv1.RoleBinding) { b.Name = "x" }), "of the name tekton-sign-token-requester only"},
		"of another role":  {bind("ci", func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "cluster-admin" }), "grants ClusterRole tekton-sign-token-requester only"},
		"of a role's name": {bind("ci", func(b *rbacv1.RoleBinding) { b.RoleRef.Kind = "Role" }), "grants ClusterRole tekton-sign-token-requester only"},
		"to itself": {bind("ci", func(b *rbacv1.RoleBinding) {
			b.Subjects = []rbacv1.Subject{{Kind: "ServiceAccount", Name: "keeper", Namespace: "tekton-sign"}}
		}), "to the service accounts of the namespace itself only"},
		"to another namespace": {bind("ci", func(b *rbacv1.RoleBinding) { b.Subjects[0].Name = "system:serviceaccounts:cd" }), "itself only"},
		"to itself beside": {bind("ci", func(b *rbacv1.RoleBinding) {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "User", Name: keeper})
		}), "itself only"},
		"out of scope":         {bind("web", nil), "namespace web is not in the scope"},
		"where Tekton runs":    {bind("openshift-pipelines", nil), "is not in the scope"},
		"in the add-on's own":  {bind("tekton-sign", nil), "is not in the scope"},
		"by the other account": {by(bind("ci", func(b *rbacv1.RoleBinding) { b.Name = "x" }), addOn, "system:serviceaccounts:tekton-sign"), "of the name"},
		"by an administrator":  {by(bind("web", func(b *rbacv1.RoleBinding) { b.Name = "x" }), "kubernetes-admin", "system:masters"), ""},
	}
	checkRefusals(t, GrantsGuard, cases)
	o := testOptions()
	o.Settings.Scope = settings.Scope{Selector: "team in (cd,ci)"}
	checkRefusalsWith(t, o, GrantsGuard, cases)
}

// TestWebhooksPolicy: nor does it have anything else sent to its webhooks, or them called elsewhere.
// TestDryRunsPolicy: the add-on's accounts create pods as dry runs only, and the policies on pods of TaskRuns let
// those of the keeper pass, however strict they are. It is no concern of the policy what others create.
func TestDryRunsPolicy(t *testing.T) {
	ours := []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	trial := asked{user: keeper, groups: ours, operation: "CREATE", namespace: "ci", dryRun: true, object: tektonsPod()}
	forGood := trial
	forGood.dryRun = false
	elsewhere := forGood
	elsewhere.namespace, elsewhere.object = "tekton-sign", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	controllers := elsewhere
	controllers.user = addOn
	others := elsewhere
	others.user, others.groups = "system:serviceaccount:ci:keeper", []string{"system:serviceaccounts", "system:serviceaccounts:ci"}
	const shown = "creates pods as dry runs only"
	checkRefusals(t, DryRunsGuard+" "+TaskRunPodMarks+" "+TaskRunPods, map[string]struct {
		asked asked
		shown string
	}{
		"a trial":                  {trial, ""},
		"a pod of a TaskRun":       {forGood, shown},
		"a pod of its own":         {elsewhere, shown},
		"one of the other account": {controllers, shown},
		"a pod of somebody else":   {others, ""},
	})
}

// TestUnstartedPodsPolicy: the add-on's accounts delete pods of TaskRuns with the signer that did not start, and no
// others. It is no concern of the policy what others delete.
func TestUnstartedPodsPolicy(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p, yes := tektonsPod(), true
		p.OwnerReferences[0].Controller = &yes
		p.Status.Phase = corev1.PodPending
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "tekton-internal-sign"})
		if change != nil {
			change(p)
		}
		return p
	}
	deletes := func(user string, change func(*corev1.Pod)) asked {
		groups := []string{"system:serviceaccounts", "system:serviceaccounts:tekton-sign"}
		if user != addOn {
			groups = nil
		}
		return asked{user: user, groups: groups, operation: "DELETE", namespace: "ci", old: pod(change)}
	}
	const shown = "that did not start, and no others"
	checkRefusals(t, UnstartedGuard, map[string]struct {
		asked asked
		shown string
	}{
		"one that did not start": {deletes(addOn, nil), ""},
		"one that runs":          {deletes(addOn, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), shown},
		"one without the signer": {deletes(addOn, func(p *corev1.Pod) { p.Spec.Volumes = nil }), shown},
		"one of nobody":          {deletes(addOn, func(p *corev1.Pod) { p.OwnerReferences = nil }), shown},
		"by somebody else":       {deletes("jane", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), ""},
	})
}

// TestDryRunsComeAfterTheirPolicy: nobody may create pods before the policy is there that makes dry runs of them.
func TestDryRunsComeAfterTheirPolicy(t *testing.T) {
	var order []string
	for _, object := range render(t, testOptions()) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			for _, r := range o.Rules {
				if slices.Contains(r.Resources, "pods") && slices.Contains(r.Verbs, "create") {
					order = append(order, "ClusterRole "+o.Name)
				}
			}
		case *admissionv1.ValidatingAdmissionPolicy:
			if o.Name == DryRunsGuard {
				order = append(order, "policy")
			}
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			if o.Spec.PolicyName == DryRunsGuard {
				order = append(order, "binding")
			}
		}
	}
	if got, want := strings.Join(order, ", "), "policy, binding, ClusterRole "+DryRunsGuard; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWebhooksPolicy(t *testing.T) {
	const keeper = "system:serviceaccount:tekton-sign:keeper"
	live := func(change func(*admissionv1.MutatingWebhookConfiguration)) *admissionv1.MutatingWebhookConfiguration {
		c := find[*admissionv1.MutatingWebhookConfiguration](t, render(t, testOptions()), StatusWebhook)
		if change != nil {
			change(c)
		}
		return c
	}
	update := func(change func(*admissionv1.MutatingWebhookConfiguration)) asked {
		return asked{
			user: keeper, groups: []string{"system:serviceaccounts:tekton-sign"}, operation: "UPDATE", old: live(nil), object: live(change),
		}
	}
	create := update(nil)
	create.operation, create.old = "CREATE", nil
	administrator := update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = nil })
	administrator.user, administrator.groups = "kubernetes-admin", []string{"system:masters"}
	const refused = "the certificate authority and the namespaces of its webhooks only"
	ignore, url := admissionv1.Ignore, "https://elsewhere.example"
	checkRefusals(t, WebhooksGuard, map[string]struct {
		asked asked
		shown string
	}{
		"nothing": {update(nil), ""},
		"its own part": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle, c.Webhooks[1].NamespaceSelector = []byte("ca"), &metav1.LabelSelector{}
		}), ""},
		"Secrets": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Resources = append(c.Webhooks[0].Rules[0].Resources, "secrets")
		}), refused},
		"another address": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.Service, c.Webhooks[0].ClientConfig.URL = nil, &url
		}), refused},
		"another Service":         {update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].ClientConfig.Service.Name = "x" }), refused},
		"enforcement made weaker": {update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[1].FailurePolicy = &ignore }), refused},
		"everything matches":      {update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].MatchConditions = nil }), refused},
		"one webhook less":        {update(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] }), refused},
		"one webhook more": {update(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: "more"})
		}), refused},
		"a configuration of its own": {create, refused},
		"by an administrator":        {administrator, ""},
	})
}

func TestTaskRunPodAccessPolicy(t *testing.T) {
	connect := func(user, pod, subresource string) asked {
		return asked{user: user, operation: "CONNECT", name: pod, subresource: subresource, object: map[string]any{"kind": "PodExecOptions", "command": []any{"sh"}}}
	}
	debug := func(pod *corev1.Pod) asked {
		return asked{user: "jane", operation: "UPDATE", name: pod.Name, subresource: "ephemeralcontainers", old: pod, object: pod}
	}
	renamed := func(p *corev1.Pod) { p.Name = "x" }
	unmarked := func(p *corev1.Pod) { p.Name, p.Labels = "x", nil }
	checkRefusals(t, TaskRunPodAccess, map[string]struct {
		asked asked
		shown string
	}{
		"exec":                   {connect("jane", "build-pod", "exec"), "jane may not use exec on pod build-pod: nobody may get into a TaskRun's pod"},
		"attach":                 {connect("jane", "build-pod", "attach"), "jane may not use attach on pod build-pod"},
		"into a retry":           {connect("jane", "build-pod-retry1", "exec"), "exec on pod build-pod-retry1"},
		"an administrator":       {connect("kubernetes-admin", "build-pod", "exec"), "kubernetes-admin may not use exec"},
		"a container":            {debug(tektonsPod()), "jane may not use ephemeralcontainers on pod build-pod"},
		"a container, by labels": {debug(tektonsPod(renamed)), "ephemeralcontainers on pod x"},
		"another pod":            {connect("jane", "web-0", "exec"), ""},
		"another pod's debugger": {debug(tektonsPod(unmarked)), ""},
	})
}

func TestTaskRunStatusPolicy(t *testing.T) {
	write := func(user, managedBy string) asked {
		spec := map[string]any{}
		if managedBy != "" {
			spec["managedBy"] = managedBy
		}
		return asked{user: user, operation: "UPDATE", name: "build", subresource: "status", old: map[string]any{"spec": spec}, object: map[string]any{}}
	}
	checkRefusals(t, TaskRunStatus, map[string]struct {
		asked asked
		shown string
	}{
		"Tekton":                  {write(tekton, ""), ""},
		"Tekton, said so":         {write(tekton, "tekton.dev/pipeline"), ""},
		"the add-on":              {write(addOn, ""), ""},
		"a user":                  {write("jane", ""), "jane may not write the status of TaskRun build: only " + tekton + " and " + addOn + " may"},
		"an administrator":        {write("kubernetes-admin", "tekton.dev/pipeline"), "kubernetes-admin may not write"},
		"another Tekton":          {write("system:serviceaccount:tekton-pipelines:tekton-pipelines-controller", ""), "may not write"},
		"a pod of the namespace":  {write("system:serviceaccount:ci:default", ""), "may not write"},
		"run by another, by whom": {write("system:serviceaccount:else:controller", "else.dev/controller"), ""},
	})
}

// namespaced returns a namespace with these labels.
func namespaced(l labels.Set) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ci", Labels: l}}
}

func TestEnforcementPolicy(t *testing.T) {
	mode := func(value string) *corev1.Namespace { return namespaced(labels.Set{settings.LabelEnforcement: value}) }
	none := namespaced(nil)
	update := func(old, object *corev1.Namespace) asked {
		return asked{user: "jane", operation: "UPDATE", old: old, object: object}
	}
	create := func(object *corev1.Namespace) asked { return asked{user: "jane", operation: "CREATE", object: object} }
	entitled := func(a asked) asked { a.mayChangeSettings = true; return a }
	const who = "jane may not set, change or remove label tekton-sign.dev/enforcement of namespace ci: only who may update ConfigMap config-signing in namespace openshift-pipelines may"
	checkRefusals(t, EnforcementGuard, map[string]struct {
		asked asked
		shown string
	}{
		"removed":              {update(mode("enforce"), none), who},
		"weakened":             {update(mode("enforce"), mode("audit")), who},
		"set":                  {update(none, mode("audit")), who},
		"strengthened":         {update(none, mode("enforce")), who},
		"made so":              {create(mode("audit")), who},
		"by who may":           {entitled(update(mode("enforce"), mode("audit"))), ""},
		"removed by who may":   {entitled(update(mode("enforce"), none)), ""},
		"made so by who may":   {entitled(create(mode("enforce"))), ""},
		"nonsense by who may":  {entitled(update(none, mode("off"))), "expected audit or enforce, got off"},
		"empty by who may":     {entitled(update(none, mode(""))), "expected audit or enforce"},
		"nonsense stays":       {update(mode("off"), mode("off")), ""},
		"other labels":         {update(mode("enforce"), namespaced(labels.Set{settings.LabelEnforcement: "enforce", "a": "b"})), ""},
		"made without":         {create(none), ""},
		"no labels, no change": {update(none, none), ""},
	})
}

// TestEnforcementPolicyGuardsTheScope: where labels choose the namespaces in scope, the policy decides as the
// selector does.
func TestEnforcementPolicyGuardsTheScope(t *testing.T) {
	sets := []labels.Set{nil, {"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": ""}, {"b": "x"}, {"a": "1", "b": "x"}, {"a": "2", "b": ""}, {"example.com/c": "y"}}
	refused := 0
	for _, selector := range []string{
		"a", "!a", "a=1", "a in (1,2)", "a notin (1,2)", "a=1,b", "a,!b", "a in (1,2),b notin (x)", "example.com/c=y", "a=", "!example.com/c,a notin (3)",
	} {
		o := testOptions()
		var err error
		if o.Settings.Scope, err = settings.NewScope(nil, selector); err != nil {
			t.Fatal(err)
		}
		p := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, o), EnforcementGuard)
		want, err := labels.Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, old := range sets {
			for _, changed := range sets {
				a := asked{user: "jane", operation: "UPDATE", old: namespaced(old), object: namespaced(changed)}
				_, shown := refusal(t, p, a.values(t))
				leaves := want.Matches(old) && !want.Matches(changed)
				if leaves != strings.Contains(shown, "jane may not take namespace ci out of signing") {
					t.Errorf("selector %s, labels %v -> %v: got %q, want it refused: %v", selector, old, changed, shown, leaves)
				}
				if !leaves {
					continue
				}
				refused++
				a.mayChangeSettings = true
				if _, shown := refusal(t, p, a.values(t)); shown != "" {
					t.Errorf("selector %s, labels %v -> %v by who may: got %q", selector, old, changed, shown)
				}
			}
			a := asked{user: "jane", operation: "CREATE", object: namespaced(old)}
			if _, shown := refusal(t, p, a.values(t)); shown != "" {
				t.Errorf("selector %s, a new namespace with labels %v: got %q", selector, old, shown)
			}
		}
	}
	if refused == 0 {
		t.Error("no case leaves the scope")
	}
}
