// SPDX-License-Identifier: Apache-2.0

package hide

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// ours is a TaskRun with everything of ours in it, theirs is the same without.
const (
	ours = `{"kind":"TaskRun","metadata":{"name":"a","annotations":{"tekton-sign.dev/record":"a user's","n":"1.0"},
	"generation":9007199254740993},
	"status":{"annotations":{"tekton-sign.dev/record":"r","tekton-sign.dev/seal":"s","other":"<&>"},
	"conditions":[{"type":"Succeeded","status":"True"},{"type":"SignedResultsVerified","status":"True"}],
	"results":[{"name":"digest","value":"SVID"},{"name":"SIGNING_TOKEN","value":"t"}],
	"taskResults":[{"name":"RESULT_MANIFEST","value":"m"}],
	"steps":[
		{"name":"one","terminated":{"exitCode":0,
		"message":"[{\"key\":\"StartedAt\",\"value\":\"x\",\"type\":3},` +
		`{\"key\":\"SIGNING_TOKEN\",\"value\":\"t\",\"type\":1}]"}},
		{"name":"two","terminated":{"message":"[{\"key\":\"RESULT_MANIFEST\",\"value\":\"m\",\"type\":1}]"}},
		{"name":"three","terminated":{"message":"[{\"key\":\"RESULT_MANIFEST\",\"value\":\"not a result\",\"type\":4}]"}},
		{"name":"four","terminated":{"message":"no JSON"}},{"name":"five","running":{}}],
	"retriesStatus":[{"annotations":{"tekton-sign.dev/seal":"s"},"conditions":[{"type":"SignedResultsVerified"}]},
	{"annotations":{}}]}}`
	theirs = `{"kind":"TaskRun","metadata":{"name":"a","annotations":{"tekton-sign.dev/record":"a user's","n":"1.0"},
	"generation":9007199254740993},
	"status":{"annotations":{"other":"<&>"},
	"conditions":[{"type":"Succeeded","status":"True"}],
	"results":[{"name":"digest","value":"SVID"}],
	"steps":[
		{"name":"one","terminated":{"exitCode":0,"message":"[{\"key\":\"StartedAt\",\"value\":\"x\",\"type\":3}]"}},
		{"name":"two","terminated":{}},
		{"name":"three","terminated":{"message":"[{\"key\":\"RESULT_MANIFEST\",\"value\":\"not a result\",\"type\":4}]"}},
		{"name":"four","terminated":{"message":"no JSON"}},{"name":"five","running":{}}],
	"retriesStatus":[{},{"annotations":{}}]}}`
)

func TestTaskRun(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":   `{}`,
		"no status": `{"metadata":{"annotations":{"tekton-sign.dev/seal":"x"}},"spec":{"params":[{"name":"SVID"}]}}`,
		"other types": `{"status":{"annotations":1,"conditions":"x","results":[1,null],"steps":{"terminated":{}},` +
			`"retriesStatus":[[]]}}`,
		"nothing of us": theirs,
		"empty": `{"status":{"annotations":{},"conditions":[],"results":[],` +
			`"steps":[{"terminated":{"message":"[]"}},{"terminated":{"message":""}}]}}`,
	} {
		got := decode(t, text)
		TaskRun(got)
		if diff := cmp.Diff(decode(t, text), got); diff != "" {
			t.Errorf("%s: changed:\n%s", name, diff)
		}
	}
	got := decode(t, ours)
	TaskRun(got)
	if diff := cmp.Diff(decode(t, theirs), got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestProxy(t *testing.T) {
	step := make(chan string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer the-user" {
			t.Errorf("the API server was sent %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("watch") == "true":
			for text := range step {
				_, _ = fmt.Fprintln(w, text)
				w.(http.Flusher).Flush()
			}
		case strings.HasSuffix(r.URL.Path, "/taskruns"):
			_, _ = io.WriteString(w, `{"kind":"TaskRunList","items":[`+ours+`],"rows":[{"cells":[1],"object":`+ours+`}]}`)
		case r.URL.Path == "/apis/tekton.dev/v1/namespaces/n/taskruns/protobuf":
			w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		default:
			_, _ = io.WriteString(w, ours)
		}
	}))
	t.Cleanup(server.Close)
	proxy, err := NewProxy(&rest.Config{Host: server.URL, BearerToken: "the-user"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := proxy.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	get := func(client *http.Client, path string) (int, io.ReadCloser) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response.StatusCode, response.Body
	}

	for path, want := range map[string]string{
		"/apis/tekton.dev/v1/namespaces/n/taskruns/a":        theirs,
		"/apis/tekton.dev/v1beta1/namespaces/n/taskruns/a":   theirs,
		"/apis/tekton.dev/v1/namespaces/n/taskruns/a/status": theirs,
		"/apis/tekton.dev/v1/namespaces/n/taskruns": `{"kind":"TaskRunList","items":[` + theirs +
			`],"rows":[{"cells":[1],"object":` + theirs + `}]}`,
		"/apis/tekton.dev/v1/namespaces/n/pipelineruns/a":         ours,
		"/api/v1/namespaces/taskruns/configmaps/a":                ours,
		"/apis/tekton.dev/v1/namespaces/taskruns/pipelines/a":     ours,
		"/apis/example.com/v1/namespaces/n/taskruns/a?watch=also": ours,
	} {
		code, body := get(client, path)
		data, err := io.ReadAll(body)
		if err != nil || code != http.StatusOK {
			t.Errorf("%s: %d, %v", path, code, err)
			continue
		}
		if diff := cmp.Diff(decode(t, want), decode(t, string(data))); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", path, diff)
		}
	}
	if code, _ := get(client, "/apis/tekton.dev/v1/namespaces/n/taskruns/protobuf"); code != http.StatusBadGateway {
		t.Errorf("what cannot be read passes: %d", code)
	}
	config.BearerToken = "another"
	stranger, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := get(stranger, "/apis/tekton.dev/v1/taskruns"); code != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", code)
	}

	go func() { step <- `{"type":"ADDED","object":` + strings.ReplaceAll(ours, "\n", " ") + `}` }()
	_, body := get(client, "/apis/tekton.dev/v1/taskruns?watch=true")
	watch := json.NewDecoder(body)
	watch.UseNumber()
	for _, kind := range []string{"ADDED", "MODIFIED"} { // each arrives before there is another
		if kind != "ADDED" {
			step <- `{"type":"` + kind + `","object":` + strings.ReplaceAll(ours, "\n", " ") + `}`
		}
		var event map[string]any
		if err := watch.Decode(&event); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, `{"type":"`+kind+`","object":`+theirs+`}`), event); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", kind, diff)
		}
	}
	close(step)
	if err := watch.Decode(new(any)); err != io.EOF {
		t.Errorf("the watch ends with %v", err)
	}
}
