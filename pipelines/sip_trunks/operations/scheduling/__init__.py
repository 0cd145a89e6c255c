"""The command `schedule`: let cron or systemd call `sip-trunks run`.

timetable.py            when: `1h`, `7 * * * *`
job.py                  what: the command, its folder, what it may write
crontab.py, systemd.py  where: the text of each scheduler, and how it is put in and taken out
command.py              install, show, remove
"""
