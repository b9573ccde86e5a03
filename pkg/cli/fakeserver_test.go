// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends/apiserver"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// tripwire is a server that counts who connects.
type tripwire struct {
	*httptest.Server
	connections atomic.Int64
}

func newTripwire() *tripwire {
	t := &tripwire{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
	t.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.connections.Add(1)
		}
	}
	t.Start()
	return t
}

// newFakeServer answers the requests of the plugin as an API server with Tekton does, and more by path.
func newFakeServer(cluster *verifytest.Cluster, more map[string]string) (*httptest.Server, error) {
	answers, err := fakeAnswers(cluster)
	if err != nil {
		return nil, err
	}
	maps.Copy(answers, more)
	lists, err := fakeTaskRuns(cluster)
	if err != nil {
		return nil, err
	}
	for _, tr := range lists {
		answers[taskRunsPath+"/"+tr.Name] = mustJSON(tr)
	}
	var slow atomic.Int64 // how often the slow TaskRun was asked for
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		switch {
		case r.Method == http.MethodPost:
			answer = tokenReviewed(r)
		case (r.URL.Path == taskRunsPath || r.URL.Path == allTaskRunsPath) && !strings.Contains(r.Header.Get("Accept"),
			"PartialObject"):
			answer = page(lists, r.URL.Query())
		case strings.HasSuffix(r.URL.Path, "/slow"):
			answer = slowly(w, answer, slow.Add(1))
		case ok:
		case strings.HasSuffix(r.URL.Path, "/forbidden"):
			w.WriteHeader(http.StatusForbidden)
			answer = apiError(403, "Forbidden",
				`taskruns.tekton.dev \"forbidden\" is forbidden: User \"me\" cannot get resource \"taskruns\"`)
		default:
			w.WriteHeader(http.StatusNotFound)
			name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
			answer = apiError(404, "NotFound", fmt.Sprintf(`taskruns.tekton.dev \"%s\" not found`, name))
		}
		_, _ = w.Write([]byte(answer))
	})), nil
}

const (
	taskRunsPath    = "/apis/tekton.dev/v1/namespaces/ci/taskruns"
	allTaskRunsPath = "/apis/tekton.dev/v1/taskruns"
)

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// fakeTaskRuns returns the TaskRuns that lists show, in their order.
func fakeTaskRuns(cluster *verifytest.Cluster) ([]*v1.TaskRun, error) {
	var list []*v1.TaskRun
	for _, name := range []string{"release-build", "release-deploy", "slow"} {
		run := verifytest.NewRun()
		run.Name = name
		tr, err := run.TaskRun(cluster)
		if err != nil {
			return nil, err
		}
		verifytest.DropCarriers(tr)
		tr.Labels = map[string]string{"app": "shop"}
		if name != "slow" {
			adopt(tr, "release", releaseUID, strings.TrimPrefix(name, "release-"))
		}
		if name == "release-deploy" {
			tr.Spec.Params = v1.Params{{Name: "digest", Value: textValue(builtDigest())}}
		}
		list = append(list, tr)
	}
	for name, change := range copies() {
		tr, err := signedTaskRun(cluster, name)
		if err != nil {
			return nil, err
		}
		change(tr)
		tr.Name = name
		if name != "build" {
			list = append(list, tr)
		}
	}
	slices.SortFunc(list, func(a, b *v1.TaskRun) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// page answers a list request, two objects at a time.
func page(list []*v1.TaskRun, query url.Values) string {
	const size = 2
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return apiError(400, "BadRequest", "bad selector")
	}
	list = slices.DeleteFunc(slices.Clone(list),
		func(tr *v1.TaskRun) bool { return !selector.Matches(labels.Set(tr.Labels)) })
	start, _ := strconv.Atoi(query.Get("continue"))
	end := min(start+size, len(list))
	meta := map[string]any{"resourceVersion": "1"}
	if end < len(list) {
		meta["continue"] = strconv.Itoa(end)
	}
	return mustJSON(map[string]any{"apiVersion": "tekton.dev/v1", "kind": "TaskRunList", "metadata": meta,
		"items": list[start:end]})
}

// tokenReviewed says of every token that it is the build pod's.
func tokenReviewed(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return apiError(400, "BadRequest", "no body")
	}
	var review authenticationv1.TokenReview
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &review); err != nil {
		return apiError(400, "BadRequest", "no review")
	}
	review.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}
	review.Status = authenticationv1.TokenReviewStatus{
		Authenticated: true, Audiences: review.Spec.Audiences,
		User: authenticationv1.UserInfo{Username: "system:serviceaccount:ci:builder",
			Extra: map[string]authenticationv1.ExtraValue{
				apiserver.ExtraPodName: {"build-pod"}, apiserver.ExtraPodUID: {"3db15e48-971f-4815-84b3-272e52f61a10"},
			}},
	}
	return mustJSON(review)
}

// slowly lets a TaskRun run on, then the API server be away, then the TaskRun be done.
func slowly(w http.ResponseWriter, done string, asked int64) string {
	switch asked {
	case 1:
		return `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"slow","namespace":"ci",` +
			`"uid":"6340374f-3a88-4ff2-812e-c155a2d8e142"}}`
	case 2:
		w.WriteHeader(http.StatusServiceUnavailable)
		return apiError(503, "ServiceUnavailable", "restarting")
	}
	return done
}

func apiError(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":"%s"}`,
		code, reason, message)
}

func fakeAnswers(cluster *verifytest.Cluster) (map[string]string, error) {
	jwk, err := cluster.JWK()
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal(jwk)
	if err != nil {
		return nil, err
	}
	answers := map[string]string{
		"/api": `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"tekton.dev",` +
			`"versions":[{"groupVersion":"tekton.dev/v1","version":"v1"}],` +
			`"preferredVersion":{"groupVersion":"tekton.dev/v1","version":"v1"}}]}`,
		"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1",` +
			`"resources":[{"name":"configmaps","singularName":"configmap","kind":"ConfigMap","namespaced":true,` +
			`"verbs":["get","list"]}]}`,
		"/apis/tekton.dev/v1": `{"kind":"APIResourceList","groupVersion":"tekton.dev/v1",` +
			`"resources":[{"name":"taskruns","singularName":"taskrun","shortNames":["tr","trs"],"kind":"TaskRun",` +
			`"namespaced":true,"verbs":["get","list"]},{"name":"pipelineruns","singularName":"pipelinerun",` +
			`"shortNames":["pr","prs"],"kind":"PipelineRun","namespaced":true,"verbs":["get","list"]}]}`,
		"/.well-known/openid-configuration": `{"issuer":"` + verifytest.Issuer + `"}`,
		"/openid/v1/jwks":                   `{"keys":[` + string(key) + `]}`,
		"/api/v1/namespaces/kube-system": `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system",` +
			`"uid":"` + verifytest.ClusterUID + `"}}`,
		"/api/v1/namespaces/ci": `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"ci"}}`,
		"/api/v1/namespaces/ci/configmaps/settings": `{"kind":"ConfigMap","apiVersion":"v1",` +
			`"metadata":{"name":"settings","namespace":"ci"}}`,
		"/api/v1/namespaces/ci/pods/build-pod": `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"build-pod",` +
			`"namespace":"ci",` +
			`"uid":"3db15e48-971f-4815-84b3-272e52f61a10","ownerReferences":[{"apiVersion":"tekton.dev/v1",` +
			`"kind":"TaskRun","name":"build",` +
			`"uid":"6340374f-3a88-4ff2-812e-c155a2d8e142","controller":true}]}}`,
		taskRunsPath: `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},` +
			`"items":[{"metadata":{"name":"build"}},{"metadata":{"name":"deploy"}}]}`,
	}
	runs, err := fakePipelineRuns(cluster)
	if err != nil {
		return nil, err
	}
	maps.Copy(answers, runs)
	for name, change := range copies() {
		tr, err := signedTaskRun(cluster, name)
		if err != nil {
			return nil, err
		}
		change(tr)
		data, err := json.Marshal(tr)
		if err != nil {
			return nil, err
		}
		answers["/apis/tekton.dev/v1/namespaces/ci/taskruns/"+name] = string(data)
	}
	return answers, nil
}
