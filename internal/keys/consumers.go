package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Consumer is a workload that reads a Secret.
type Consumer struct {
	Kind, Name string
	// How says where in the workload, such as `env API_KEY of container app`.
	How []string
	// Restart says that it reads the Secret only when it starts: after a rotation it has to be restarted.
	Restart bool
}

// Consumers returns who reads a Secret of a namespace: pods, and the workloads that make pods. A pod or workload that a
// listed one controls is left out. What may not be listed is left out too, and the error, which joins theirs, says so.
func (c *Client) Consumers(ctx context.Context, namespace, secret string) ([]Consumer, error) {
	var consumers []Consumer
	var failed error
	for _, kind := range workloads {
		list := kind.list()
		if err := c.list(ctx, list, namespace); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%ss can't be looked at: %w", kind.name, err))
			continue
		}
		kind.each(list, func(meta *metav1.ObjectMeta, spec *corev1.PodSpec) {
			if controlled(meta) {
				return
			}
			if how, restart := Reads(spec, secret); len(how) > 0 {
				consumers = append(consumers, Consumer{Kind: kind.name, Name: meta.Name, How: how, Restart: restart})
			}
		})
	}
	return consumers, failed
}

// list lists all pages of a kind into one.
func (c *Client) list(ctx context.Context, list client.ObjectList, namespace string) error {
	return c.api.List(ctx, list, client.InNamespace(namespace))
}

// controlled says whether something else that is looked at made the object.
func controlled(meta *metav1.ObjectMeta) bool {
	owner := metav1.GetControllerOfNoCopy(meta)
	return owner != nil && slices.ContainsFunc(workloads, func(w workload) bool { return w.name == owner.Kind })
}

// workload is a kind that has pods.
type workload struct {
	name string
	list func() client.ObjectList
	each func(list client.ObjectList, do func(*metav1.ObjectMeta, *corev1.PodSpec))
}

// workloads are the kinds that are looked at.
var workloads = []workload{
	kind("Deployment", func(l *appsv1.DeploymentList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	kind("StatefulSet", func(l *appsv1.StatefulSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	kind("DaemonSet", func(l *appsv1.DaemonSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	kind("ReplicaSet", func(l *appsv1.ReplicaSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	kind("CronJob", func(l *batchv1.CronJobList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.JobTemplate.Spec.Template.Spec)
		}
	}),
	kind("Job", func(l *batchv1.JobList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	kind("Pod", func(l *corev1.PodList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec)
		}
	}),
}

type pods = func(*metav1.ObjectMeta, *corev1.PodSpec)

func kind[L any, P interface {
	*L
	client.ObjectList
}](name string, each func(P, pods)) workload {
	return workload{
		name: name,
		list: func() client.ObjectList { return P(new(L)) },
		each: func(list client.ObjectList, do func(*metav1.ObjectMeta, *corev1.PodSpec)) {
			if typed, ok := list.(P); ok {
				each(typed, do)
			}
		},
	}
}

// Reads says how a pod reads a Secret, and whether it does so only when it starts.
func Reads(spec *corev1.PodSpec, secret string) (how []string, restart bool) {
	volumes := map[string]bool{}
	for i := range spec.Volumes {
		if mounts(&spec.Volumes[i], secret) {
			volumes[spec.Volumes[i].Name] = true
		}
	}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for i := range spec.EphemeralContainers {
		containers = append(containers, corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	for i := range containers {
		environment := inEnvironment(&containers[i], secret)
		files, fixed := inFiles(&containers[i], volumes)
		how = append(append(how, environment...), files...)
		restart = restart || len(environment) > 0 || fixed
	}
	return how, restart
}

// inEnvironment says which variables of a container are from a Secret.
func inEnvironment(container *corev1.Container, secret string) (how []string) {
	for _, variable := range container.Env {
		if source := variable.ValueFrom; source != nil && source.SecretKeyRef != nil && source.SecretKeyRef.Name == secret {
			how = append(how, fmt.Sprintf("env %s of container %s", variable.Name, container.Name))
		}
	}
	for _, source := range container.EnvFrom {
		if source.SecretRef != nil && source.SecretRef.Name == secret {
			how = append(how, "envFrom of container "+container.Name)
		}
	}
	return how
}

// inFiles says where a container has some volumes, and whether one of them is never replaced there.
func inFiles(container *corev1.Container, volumes map[string]bool) (how []string, fixed bool) {
	for _, mount := range container.VolumeMounts {
		if volumes[mount.Name] {
			how = append(how, fmt.Sprintf("files at %s of container %s", mount.MountPath, container.Name))
			fixed = fixed || mount.SubPath != "" || mount.SubPathExpr != ""
		}
	}
	return how, fixed
}

func mounts(volume *corev1.Volume, secret string) bool {
	if volume.Secret != nil && volume.Secret.SecretName == secret {
		return true
	}
	return volume.Projected != nil && slices.ContainsFunc(volume.Projected.Sources, func(p corev1.VolumeProjection) bool {
		return p.Secret != nil && p.Secret.Name == secret
	})
}
