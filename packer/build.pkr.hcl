build {
  name = "bakehouse"

  sources = ["source.docker.machine", "source.amazon-ebs.machine", "source.qemu.machine"]

  provisioner "shell-local" {
    # Packer would append to the last build's manifest.
    inline = [
      "mkdir -p '${dirname(local.manifest)}'",
      "rm -f '${local.manifest}'",
    ]
  }

  provisioner "shell" {
    # Booting empties /tmp, and the message bus may not answer at once.
    remote_folder = local.reached[source.type].home
    inline = [
      "if command -v cloud-init >/dev/null; then sudo cloud-init status --wait; fi",
      "for second in $(seq 30); do",
      "  case $(systemctl is-system-running --wait 2>/dev/null) in running|degraded) exit 0 ;; esac",
      "  sleep 1",
      "done",
      "echo 'systemd did not come up within 30 s' >&2; exit 1",
    ]
  }

  provisioner "ansible" {
    playbook_file    = local.playbook_file
    user             = local.reached[source.type].user
    use_proxy        = local.reached[source.type].use_proxy
    extra_arguments  = concat(local.arguments[source.type], local.first)
    ansible_env_vars = local.ansible_environment
  }

  # The machine is judged while it still lets somebody in, and image_cleanup comes after that. As a
  # provisioner of Ansible's kind the judge is told how to reach it, and its key in a file.
  provisioner "ansible" {
    except             = local.unjudged
    playbook_file      = local.playbook_file
    user               = local.reached[source.type].user
    use_proxy          = local.reached[source.type].use_proxy
    extra_arguments    = local.reached[source.type].judged
    command            = var.judge
    skip_version_check = true
  }

  provisioner "ansible" {
    except           = local.unjudged
    playbook_file    = local.playbook_file
    user             = local.reached[source.type].user
    use_proxy        = local.reached[source.type].use_proxy
    extra_arguments  = concat(local.arguments[source.type], ["--tags", "image_cleanup"])
    ansible_env_vars = local.ansible_environment
  }

  post-processors {
    post-processor "manifest" {
      output     = local.manifest
      strip_path = true
    }
    # Left out by `bakehouse build` (-except=docker-tag), which first looks at what was made.
    post-processor "docker-tag" {
      only       = ["docker.machine"]
      repository = "${var.namespace}/${var.image}"
      tags       = ["latest"]
    }
  }
}
