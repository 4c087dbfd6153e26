# mailsrv on Windows: started with the machine, as LOCAL SERVICE, which has no
# rights over anything else. Run in a PowerShell of an administrator, from the
# folder that holds mailsrv.exe and mailsrv.toml:
#
#   powershell -ExecutionPolicy Bypass -File mailsrv-task.ps1
#
#   Start-ScheduledTask mailsrv      starts it
#   Stop-ScheduledTask mailsrv       stops it at once; what was answered with 250 is on disk
#   Unregister-ScheduledTask mailsrv takes it away; mail and settings stay
#
# mailsrv.toml needs, because there is no window and no terminal:
#   data_dir = 'C:\ProgramData\mailsrv\data'
#   [log]
#   file = 'C:\ProgramData\mailsrv\mailsrv.log'

$ErrorActionPreference = 'Stop'
$program = Join-Path $env:ProgramFiles 'mailsrv\mailsrv.exe'
$folder = Join-Path $env:ProgramData 'mailsrv'
$config = Join-Path $folder 'mailsrv.toml'

New-Item -ItemType Directory -Force (Split-Path $program), $folder | Out-Null
Copy-Item .\mailsrv.exe $program -Force
if (-not (Test-Path $config)) { Copy-Item .\mailsrv.toml $config }
& $program --config $config config check
if ($LASTEXITCODE -ne 0) { throw "mend $config first" }

# Only administrators, the system and LOCAL SERVICE (S-1-5-19) read mail and
# passwords. The numbers are the same in every language of Windows.
icacls $folder /inheritance:r /grant '*S-1-5-32-544:(OI)(CI)F' '*S-1-5-18:(OI)(CI)F' '*S-1-5-19:(OI)(CI)M' | Out-Null

# A task without these settings is ended after three days, and on battery power.
Register-ScheduledTask -TaskName mailsrv -Force `
  -Action (New-ScheduledTaskAction -Execute $program -Argument "serve --quiet --config `"$config`"") `
  -Trigger (New-ScheduledTaskTrigger -AtStartup) `
  -Principal (New-ScheduledTaskPrincipal -UserId 'LOCALSERVICE' -LogonType ServiceAccount) `
  -Settings (New-ScheduledTaskSettingsSet -ExecutionTimeLimit ([TimeSpan]::Zero) -RestartCount 999 `
    -RestartInterval (New-TimeSpan -Minutes 1) -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries) | Out-Null

# Other machines are let in; which ports answer is said in [listen].
Get-NetFirewallRule -Name mailsrv -ErrorAction SilentlyContinue | Remove-NetFirewallRule
New-NetFirewallRule -Name mailsrv -DisplayName mailsrv -Direction Inbound -Action Allow -Program $program | Out-Null

Start-ScheduledTask mailsrv
Write-Host "mailsrv starts with the machine. Look at it with: & '$program' --config '$config' doctor"
