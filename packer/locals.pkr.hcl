locals {
  root      = var.root != "" ? var.root : abspath("${path.root}/..")
  container = var.container != "" ? var.container : "bakehouse-${var.image}-${uuidv4()}"
  manifest  = var.manifest != "" ? var.manifest : "${local.root}/out/${var.image}/packer-manifest.json"

  # What images.yml, the only list of images, says of this one. No try() around locals: Packer 1.6 looks
  # at them in several passes, and try() would take one that is not known yet for one that is missing.
  images   = yamldecode(file("${local.root}/images.yml")).images
  entry    = merge({ ami = local.no_ami, disk = { gb = 0 } }, local.images[var.image])
  playbook = var.playbook != "" ? var.playbook : local.entry.playbook
  stack    = var.stack != "" ? var.stack : local.entry.stack

  playbook_file = var.playbook_file != "" ? var.playbook_file : "${local.root}/playbooks/${local.playbook}.yml"

  stack_file = "${local.root}/stacks/${local.stack}.yml"
  records    = yamldecode(file(local.stack_file))
  versions   = { for name, record in local.records : name => record.version if can(record.version) }

  # What the image says about itself; `bakehouse build` gives more in var.variables_file.
  identity = {
    image_info_image          = var.image
    image_info_build          = var.build
    image_info_commit         = var.commit
    image_info_stack_name     = local.stack
    image_info_stack_digest   = sha256(file(local.stack_file))
    image_info_stack_versions = local.versions
  }

  # Verified wheels: the given folder, or the one that `bakehouse build` has filled for this stack.
  stack_wheels = "${local.root}/.bakehouse/wheelhouse/${local.stack}"
  wheelhouse   = var.wheelhouse != "" ? var.wheelhouse : fileexists("${local.stack_wheels}/.complete") ? local.stack_wheels : ""

  # Mounted below /run, which is in memory: nothing of it can stay in the image.
  mounts = {
    "/run/bakehouse/wheels" = local.wheelhouse
    "/run/bakehouse/host"   = var.host_configuration
  }
  volumes = flatten([for path, folder in local.mounts : ["--volume", "${folder}:${path}:ro"] if folder != ""])

  # The environment of a bake is given to the interpreter, so that none of it can stay in the image.
  environment = length(var.environment) > 0 ? concat(["/usr/bin/env"], [for name, value in var.environment : "${name}=${value}"]) : []

  # How Ansible reaches the machine, and who it is there, by type of source. Packer's SSH proxy offers
  # keys that a present OpenSSH refuses: containers are reached through docker, machines directly.
  reached = {
    docker = {
      user      = "root"
      home      = "/root"
      use_proxy = true
      judged    = ["-e", "ansible_connection=docker", "-e", "ansible_host=${local.container}"]
      variables = {
        ansible_connection         = "docker"
        ansible_host               = local.container
        ansible_user               = "root"
        ansible_python_interpreter = join(" ", concat(local.environment, ["/usr/bin/python3"]))
        bakehouse_become           = false
        bakehouse_wheelhouse       = local.wheelhouse != "" ? "/run/bakehouse/wheels" : ""
      }
    }
    amazon-ebs = {
      user      = local.source_ami.user
      home      = local.source_ami.user == "root" ? "/root" : "/home/${local.source_ami.user}"
      use_proxy = false
      judged    = []
      variables = {
        ansible_python_interpreter = join(" ", concat(local.environment, ["/usr/bin/python3"]))
        bakehouse_become           = local.source_ami.user != "root"
        bakehouse_wheelhouse       = ""
      }
    }
    qemu = {
      user      = "debian"
      home      = "/home/debian"
      use_proxy = false
      judged    = []
      variables = {
        ansible_python_interpreter = join(" ", concat(local.environment, ["/usr/bin/python3"]))
        bakehouse_become           = true
        bakehouse_wheelhouse       = ""
      }
    }
  }

  # Where nobody looks, image_cleanup needs no run of its own.
  first    = var.judge != "" ? ["--skip-tags", "image_cleanup"] : []
  unjudged = var.judge != "" ? [] : ["docker.machine", "amazon-ebs.machine", "qemu.machine"]

  variables = merge(local.identity, { bakehouse_target = "machine" })

  ansible_environment = [
    "ANSIBLE_CONFIG=${local.root}/ansible.cfg",
    "ANSIBLE_NOCOLOR=1",
  ]

  more_variables = var.variables_file != "" ? ["--extra-vars", "@${var.variables_file}"] : []

  # Arguments of ansible-playbook, by type of source.
  arguments = { for type, how in local.reached : type => concat(
    [
      "--extra-vars", "@${local.stack_file}",
      "--extra-vars", jsonencode(merge(local.variables, how.variables)),
    ],
    local.more_variables,
  ) }
}
