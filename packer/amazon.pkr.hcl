locals {
  # For images that are never an AMI, so that their other kinds can be built.
  no_ami = { source = "base", distributions = ["ubuntu-24.04"], instance_types = { x86_64 = "none", arm64 = "none" }, root_gb = 0 }

  catalogue    = yamldecode(file("${local.root}/packer/source_amis.yml"))
  ami          = local.entry.ami
  distribution = var.distribution != "" ? var.distribution : local.ami.distributions[0]
  source_ami   = local.catalogue.source_amis[local.ami.source][local.distribution][var.architecture]
  source_name  = replace(replace(lookup(local.source_ami, "name", "none"), "$${parallelcluster}", local.catalogue.versions.parallelcluster), "$${kubernetes}", local.catalogue.versions.kubernetes)

  # No two images share a pattern: the name begins with the image's, and a digit follows the last dash.
  ami_name = "${var.namespace}-${var.image}-${local.distribution}-${var.architecture}-${formatdate("YYYYMMDDhhmmss", timestamp())}"

  # Read by `bakehouse ami`, which touches nothing that lacks the first.
  tags = merge(
    { for name, version in local.versions : "bakehouse:component:${replace(name, "_release", "")}" => version },
    {
      "Name"                   = local.ami_name
      "bakehouse:image"        = var.image
      "bakehouse:build"        = var.build
      "bakehouse:stack"        = "${local.stack}@sha256:${sha256(file(local.stack_file))}"
      "bakehouse:commit"       = var.commit
      "bakehouse:created"      = timestamp()
      "bakehouse:distribution" = local.distribution
      "bakehouse:architecture" = var.architecture
      "bakehouse:source-ami"   = "{{ .SourceAMI }}"
      # There is no AMI where the judge found fault.
      "bakehouse:checks" = var.judge != "" ? "passed" : "not run"
    },
    var.tags,
  )
}

source "amazon-ebs" "machine" {
  region        = var.region
  ami_name      = local.ami_name
  instance_type = var.instance_type != "" ? var.instance_type : local.ami.instance_types[var.architecture]

  # An AMI of another architecture than asked for is refused, a given one too.
  source_ami = var.source_ami
  source_ami_filter {
    filters = merge(
      {
        architecture        = var.architecture
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      },
      var.source_ami != "" ? {} : { name = local.source_name },
    )
    owners      = var.source_ami != "" ? [] : [local.source_ami.owner]
    most_recent = true
  }

  launch_block_device_mappings {
    device_name           = local.source_ami.root_device
    volume_type           = "gp3"
    volume_size           = var.root_gb != 0 ? var.root_gb : local.ami.root_gb
    iops                  = var.root_iops
    throughput            = var.root_throughput
    delete_on_termination = true
  }
  encrypt_boot       = var.encrypt
  kms_key_id         = var.kms_key_id
  ami_regions        = var.copy_to_regions
  region_kms_key_ids = var.region_kms_key_ids
  ami_users          = var.share_with
  snapshot_users     = var.share_with

  ena_support   = true
  sriov_support = true
  imds_support  = "v2.0"
  boot_mode     = var.architecture == "arm64" ? "uefi" : "uefi-preferred"
  deprecate_at  = timeadd(timestamp(), "${var.deprecate_after_h}h")
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  vpc_id                                = var.vpc_id
  subnet_id                             = var.subnet_id
  associate_public_ip_address           = var.public_address
  ssh_interface                         = var.session_manager ? "session_manager" : var.public_address ? "public_ip" : "private_ip"
  iam_instance_profile                  = var.instance_profile
  temporary_security_group_source_cidrs = var.ssh_source_cidrs
  spot_price                            = var.spot ? "auto" : ""
  communicator                          = "ssh"
  ssh_username                          = local.source_ami.user
  ssh_timeout                           = "10m"

  # Without these, a slow copy to another region counts as failed after 30 minutes.
  aws_polling {
    delay_seconds = 15
    max_attempts  = 240
  }

  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = merge(local.tags, { Name = "baking ${local.ami_name}" })
  run_volume_tags = merge(local.tags, { Name = "baking ${local.ami_name}" })
}
