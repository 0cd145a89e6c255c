"""Schedules for `sip-trunks run` in cron or systemd, for the command `schedule`.

timetable.py            times: `1h`, `7 * * * *`
job.py                  the scheduled command, its folder, the folders that it writes to
crontab.py, systemd.py  render, install, find and remove a schedule in each scheduler
"""
