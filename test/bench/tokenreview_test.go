// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package bench

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// reviewed is the number of tokens, more than can be reviewed in the time.
const reviewed = 5000

// workers is how many TaskRuns are verified, or reviews requested, at the same time.
const workers = 2

// BenchmarkTokenReview compares local verification with one TokenReview for each TaskRun at the API server of
// KUBECONFIG, which is the least that a verifier without keys needs.
func BenchmarkTokenReview(b *testing.B) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	tokens := serviceAccountTokens(b, client)
	var next atomic.Int64
	review := func() error {
		token := tokens[int(next.Add(1))%len(tokens)] // each one once, because the API server caches its answers
		got, err := client.AuthenticationV1().TokenReviews().Create(b.Context(),
			&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}},
			metav1.CreateOptions{})
		if err == nil && !got.Status.Authenticated {
			b.Error("the token was not accepted")
		}
		return err
	}
	cluster, verifier := newCluster(b)
	data := typicalJSON(b, cluster, typicalRun("build", verifytest.NewRun().UID))
	local := func() error {
		tr, err := source.Decode(data)
		if err != nil {
			return err
		}
		if got := verifier.TaskRun(context.Background(), tr, verify.Facts{}); got.Verdict != verify.Verified {
			b.Errorf("%+v", got)
		}
		return nil
	}
	var reviews, verified float64
	for b.Loop() {
		reviews += throughput(b, review)
		verified += throughput(b, local)
	}
	b.ReportMetric(reviews/float64(b.N), "tokenreviews/s")
	b.ReportMetric(verified/float64(b.N), "taskruns/s")
	b.ReportMetric(verified/reviews, "times-tokenreview")
}

// throughput calls f from all workers for a while and returns the number of calls per second.
func throughput(b *testing.B, f func() error) float64 {
	b.Helper()
	const period = 2 * time.Second
	var wg sync.WaitGroup
	counts := make([]int, workers)
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			for time.Since(start) < period {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				counts[w]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(start).Seconds()
}

// audience is the audience of signing tokens with the binding that only a TokenReview can verify.
const audience = "benchmark"

// serviceAccountTokens requests different tokens in a new namespace, which is deleted at the end.
func serviceAccountTokens(b *testing.B, client kubernetes.Interface) []string {
	b.Helper()
	ctx := b.Context()
	ns, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tekton-sign-bench-"},
	}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			b.Error(err)
		}
	})
	account, err := client.CoreV1().ServiceAccounts(ns.Name).Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "bench"},
	}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var tokens []string
	for range reviewed {
		request, err := client.CoreV1().ServiceAccounts(ns.Name).CreateToken(ctx, account.Name,
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}},
			metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		tokens = append(tokens, request.Status.Token)
	}
	return tokens
}
