build {
  name = "bakehouse"

  sources = ["source.docker.machine"]

  provisioner "shell" {
    inline = ["systemctl is-system-running --wait || systemctl is-system-running | grep -q degraded"]
  }

  provisioner "ansible" {
    playbook_file   = "${local.root}/playbooks/${var.playbook}.yml"
    user            = "root"
    extra_arguments = local.ansible_arguments
    ansible_env_vars = [
      "ANSIBLE_CONFIG=${local.root}/ansible.cfg",
      "ANSIBLE_NOCOLOR=1",
    ]
  }

  post-processors {
    post-processor "manifest" {
      output     = var.manifest
      strip_path = true
    }
    post-processor "docker-tag" {
      repository = "bakehouse/${var.image}"
      tags       = ["latest"]
    }
  }
}
